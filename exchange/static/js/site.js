/* What every page does: the theme switch and the language switch. */
const YEAR_S = 365 * 24 * 3600;

function rememberTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.cookie = `theme=${theme};path=/;max-age=${YEAR_S};samesite=lax`;
  document.dispatchEvent(new CustomEvent("themechange", { detail: theme }));
}

document.getElementById("theme-switch").addEventListener("click", () => {
  rememberTheme(document.documentElement.dataset.theme === "light" ? "dark" : "light");
});

document.getElementById("language").addEventListener("change", (event) => event.target.form.submit());
