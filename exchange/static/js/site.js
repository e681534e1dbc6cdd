/* What every page does: the theme, the colours of rising and falling, the language. */
const YEAR_S = 365 * 24 * 3600;

/** Keep a choice of look in the page's root and in a cookie, from which the next page is served in it. */
function rememberLook(name, value) {
  document.documentElement.dataset[name] = value;
  document.cookie = `${name}=${value};path=/;max-age=${YEAR_S};samesite=lax`;
  document.dispatchEvent(new CustomEvent("themechange"));
}

document.getElementById("theme-switch").addEventListener("click", () => {
  rememberLook("theme", document.documentElement.dataset.theme === "light" ? "dark" : "light");
});

document.getElementById("red-up")?.addEventListener("change", ({ target }) => {
  rememberLook("up", target.checked ? "red" : "green");
});

document.getElementById("language").addEventListener("change", (event) => event.target.form.submit());
