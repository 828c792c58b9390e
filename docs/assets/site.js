// The theme puts wide tables into boxes that scroll. Whoever has no mouse must be able to reach these.
function reachable() {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Table, wider than the page");
    }
  }
}
new MutationObserver(reachable).observe(document.documentElement, { childList: true, subtree: true });
window.addEventListener("resize", reachable);
