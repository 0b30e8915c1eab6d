"use strict";
// `/` puts the cursor into the search box; a form that changes something is sent once.
(() => {
  const typing = (target) => target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const box = document.getElementById("searchbar");
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select();
  });

  const sent = new WeakSet();
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form.confirm, form.act")) return;
    if (sent.has(event.target)) event.preventDefault();
    else sent.add(event.target);
  });
  // A page that comes back from the history may send again.
  window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });
})();
