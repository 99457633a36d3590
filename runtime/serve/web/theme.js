// The chosen colours, set before the page is first painted: this is a classic script in the head, since modules run later.
(function () {
  let theme = null;
  try {
    theme = localStorage.getItem("onecopy.theme");
  } catch {
    // Storage may be forbidden; the system's colours are then used.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
