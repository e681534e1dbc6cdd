"""Every text that a user may read is translated, and the compiled catalogue is the one that was translated."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.translation import get_language, override
from django.utils.translation import gettext as translated
from django.utils.translation.template import templatize

ROOT = Path(settings.BASE_DIR)
CATALOGUES = ROOT / "exchange" / "locale" / "zh_Hant" / "LC_MESSAGES"
PACKAGES = ("exchange", "ledger", "trading", "risk", "marketdata", "matching_worker")
SINGLE = {"_", "gettext", "gettext_lazy", "gettext_noop"}
PLURAL = {"ngettext", "ngettext_lazy"}
CONTEXT = {"pgettext", "pgettext_lazy"}
CALL_IN_SCRIPT = re.compile(r'\b(gettext|ngettext|pgettext)\(\s*"((?:[^"\\]|\\.)*)"(?:,\s*"((?:[^"\\]|\\.)*)")?')


def _texts_of_call(call: ast.Call) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    words = [part.value for part in call.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if (name in SINGLE and words) or (name in PLURAL and len(words) > 1):
        yield words[0]
    elif name in CONTEXT and len(words) > 1:
        yield f"{words[0]}\x04{words[1]}"


def _texts_of_python(source: str) -> set[str]:
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {text for call in calls for text in _texts_of_call(call)}


def _texts_of_template(path: Path) -> set[str]:
    words = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    source = templatize(path.read_text())
    plain = re.findall(rf"\b(?:gettext|_)\(u?({words})", source)
    in_context = re.findall(rf"\bpgettext\(u?({words}), u?({words})", source)
    return {ast.literal_eval(text) for text in plain} | {
        f"{ast.literal_eval(context)}\x04{ast.literal_eval(text)}" for context, text in in_context
    }


def _django_texts() -> set[str]:
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if not {"tests", "migrations", "benchmarks"} & set(path.parts):
                found |= _texts_of_python(path.read_text())
    for path in (ROOT / "templates").rglob("*.html"):
        found |= _texts_of_template(path)
    return found


def _script_texts() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "exchange" / "static" / "js").rglob("*.js"):
        for function, first, second in CALL_IN_SCRIPT.findall(path.read_text()):
            found.add(f"{first}\x04{second}" if function == "pgettext" else first)
    return found


def _entries(domain: str) -> dict[str, list[str]]:
    """Return the texts and translations of a .po file; refuses what it cannot read, such as fuzzy entries."""
    found: dict[str, list[str]] = {}
    for block in (CATALOGUES / f"{domain}.po").read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        assert not re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE), f"a fuzzy entry in {domain}.po:\n{block}"
        assert not re.search(r"^#~", block, re.MULTILINE), f"an obsolete entry in {domain}.po:\n{block}"
        parts: dict[str, str] = {}
        key = ""
        for line in lines:
            word, _, text = line.partition(" ") if not line.startswith('"') else (key, "", line)
            key = word
            parts[key] = parts.get(key, "") + ast.literal_eval(text)
        if parts.get("msgid"):
            name = f"{parts['msgctxt']}\x04{parts['msgid']}" if "msgctxt" in parts else parts["msgid"]
            found[name] = [text for word, text in parts.items() if word.startswith("msgstr")]
    return found


@pytest.mark.parametrize(("domain", "used"), [("django", _django_texts), ("djangojs", _script_texts)])
def test_every_text_in_use_is_translated(domain, used) -> None:
    entries = _entries(domain)

    assert sorted(used() - set(entries)) == []
    assert sorted(text for text, translations in entries.items() if not all(translations)) == []


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_the_compiled_catalogue_is_up_to_date(domain) -> None:
    with (CATALOGUES / f"{domain}.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for text, [translation, *_] in _entries(domain).items():
        context, _, message = text.rpartition("\x04")
        alone = compiled.pgettext(context, message) if context else compiled.gettext(message)
        assert translation in {alone, compiled.ngettext(message, message, 1)}, text


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_a_translation_keeps_the_places_of_its_text(domain) -> None:
    place = re.compile(r"%\([a-z_]+\)[sd]|%s|\{[a-z_]+\}")

    for text, translations in _entries(domain).items():
        for translation in translations:
            assert sorted(place.findall(translation)) == sorted(place.findall(text)), text


@pytest.mark.parametrize("language", ["zh-TW", "zh-HK", "zh-Hant"])
def test_browsers_that_ask_for_traditional_chinese_get_it(client, db, language) -> None:
    page = client.get("/login", HTTP_ACCEPT_LANGUAGE=language)

    assert page.headers["Content-Language"] == "zh-hant"
    with override("zh-hant"):
        assert translated("Log in") != "Log in"
        assert translated("Log in") in page.content.decode()


def test_the_language_of_the_test_before_is_spoken_no_more() -> None:
    assert get_language() == settings.LANGUAGE_CODE
