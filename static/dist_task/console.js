"use strict";
// Keys, the live dot, tries, copying, time zones, and forms that are sent once. Without it every page works all the same.
(() => {
  const byId = (id) => document.getElementById(id);
  const typing = (target) => target instanceof Element && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");

  // On a phone the navigation is wider than the screen.
  document.querySelector("#console-nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // Keys
  const keys = byId("keys");
  const showKeys = byId("show-keys");
  if (keys && showKeys) {
    showKeys.hidden = false;
    showKeys.addEventListener("click", () => keys.showModal());
  }
  const rows = () => [...document.querySelectorAll("#result_list tbody tr, table.rows tbody tr")];
  const current = () => rows().find((row) => row.classList.contains("current"));

  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    const index = all.indexOf(current());
    const next = all[Math.max(0, Math.min(all.length - 1, index < 0 ? 0 : index + step))];
    all.forEach((row) => row.classList.toggle("current", row === next));
    next.scrollIntoView({ block: "nearest" });
    next.querySelector("a")?.focus({ preventScroll: true });
  };

  // Sends the action of the list for the selected rows, else for the current one, or of the page for its row; the server asks why.
  const act = (name) => {
    const form = byId("changelist-form");
    if (!form) document.querySelector(`form.act:has(input[name=action][value=${name}]) button`)?.click();
    const choice = form?.querySelector("select[name=action]");
    if (!choice || ![...choice.options].some((option) => option.value === name)) return;
    const boxes = [...form.querySelectorAll("input.action-select")];
    if (!boxes.some((box) => box.checked)) {
      const own = current()?.querySelector("input.action-select");
      if (!own) return;
      own.checked = true;
    }
    choice.value = name;
    form.requestSubmit(form.querySelector("button[name=index]") ?? undefined);
  };

  const select = () => current()?.querySelector("input.action-select")?.click();
  const actions = {
    "/": () => { const box = byId("jump") ?? byId("searchbar"); box?.focus(); box?.select(); },
    "?": () => keys?.showModal(),
    j: () => move(1), k: () => move(-1), x: select, r: () => act("retry"), h: () => act("handle"), a: () => act("assign"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || keys?.open) return;
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
    if (!action) return;
    event.preventDefault();
    action();
  });

  // The live dot: asks whether anything has changed, and swaps what has. Not while nobody looks.
  const live = byId("live");
  const EVERY = 5000;
  let etag = document.querySelector("[data-live]")?.dataset.etag ?? "";
  let timer = 0;
  const paused = () => live.getAttribute("aria-pressed") === "true";
  const say = (state) => {
    live.classList.toggle("is-lost", state === "lost");
    live.querySelectorAll("[data-when]").forEach((word) => { word.hidden = word.dataset.when !== state; });
  };
  const isBusy = (region) => region.contains(document.activeElement) && document.activeElement !== region
    || !document.getSelection()?.isCollapsed || keys?.open;

  const swap = async (region) => {
    const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || isBusy(region)) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(region.id);
    if (!fresh) return false;
    const opened = [...region.querySelectorAll("details")].map((each) => each.open);
    region.replaceChildren(...fresh.childNodes);
    const now = [...region.querySelectorAll("details")];
    if (now.length === opened.length) now.forEach((each, index) => { each.open = opened[index]; });
    return true;
  };

  const look = async () => {
    const region = document.querySelector("[data-live]");
    const answer = await fetch(region?.dataset.live ?? live.dataset.url, etag ? { headers: { "If-None-Match": etag } } : {});
    if (answer.status === 304) return;
    if (!answer.ok) throw new Error(answer.statusText);
    const found = await answer.json();
    const badge = byId("needs-person");
    if (badge) {
      badge.textContent = found.needs_person;
      badge.parentElement.hidden = !found.needs_person;
    }
    const isFirst = !etag;
    if (region && !isFirst && !(await swap(region))) return;
    etag = answer.headers.get("ETag") ?? "";
  };

  const tick = async () => {
    clearTimeout(timer);
    if (paused() || document.hidden) return;
    try { await look(); say("on"); } catch { say("lost"); }
    timer = setTimeout(tick, EVERY);
  };

  if (live) {
    live.hidden = false;
    const stored = () => { try { return localStorage.getItem("dist_task.paused") === "yes"; } catch { return false; } };
    const pause = (is) => {
      live.setAttribute("aria-pressed", String(is));
      say(is ? "off" : "on");
      try { localStorage.setItem("dist_task.paused", is ? "yes" : "no"); } catch { /* a browser without storage */ }
    };
    if (stored()) pause(true);
    live.addEventListener("click", () => { pause(!paused()); tick(); });
    document.addEventListener("visibilitychange", tick);
    timer = setTimeout(tick, 1000);
  }

  // What a verb would say to a few rows takes its time: asked for once the page is there, and again by its button.
  const preview = byId("preview");
  const tryout = document.querySelector("button[data-try]");
  let trying = new AbortController();
  const tryRows = async ({ isAsked }) => {
    trying.abort();
    trying = new AbortController();
    const { signal } = trying;
    const { form } = tryout;
    const values = new FormData(form);
    values.append(tryout.name, tryout.value);
    preview.setAttribute("aria-busy", "true");
    try {
      const answer = form.method === "post"
        ? await fetch(window.location.href, { method: "POST", body: values, signal })
        : await fetch(`?${new URLSearchParams(values)}`, { signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("preview");
      if (fresh && !page.querySelector("form.confirm .errorlist")) preview.replaceChildren(...fresh.childNodes);
      else if (isAsked) form.requestSubmit(tryout); // the next page says what is wrong
    } catch { /* no answer: the page stays as it is, and the live dot says so; or a later try is under way */ }
    if (!signal.aborted) preview.removeAttribute("aria-busy");
  };
  if (preview && tryout) {
    tryout.addEventListener("click", (event) => { event.preventDefault(); tryRows({ isAsked: true }); });
    if (tryout.dataset.try === "now") tryRows({ isAsked: false });
  }

  // Copying: the text is on the page anyway, and selected where the clipboard is closed.
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("button.copy") : null;
    const source = button && byId(button.dataset.copy);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.classList.add("done");
    } catch {
      document.getSelection()?.selectAllChildren(source);
    }
  });

  // Times are in the person's own zone; on the first page, and without a script, in the console's.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) {
    document.cookie = `console_zone=${zone}; path=/admin/; max-age=31536000; samesite=lax`;
    document.querySelectorAll("input[data-zone]").forEach((field) => { field.value = zone; });
    document.querySelectorAll("[data-zone-name]").forEach((name) => { name.textContent = zone; });
  }

  const sent = new WeakSet();
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form.confirm, form.act")) return;
    if (sent.has(event.target)) event.preventDefault();
    else sent.add(event.target);
  });
  // A page that comes back from the history may send again.
  window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });
})();
