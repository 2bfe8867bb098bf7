"use strict";
// Fetches the main part again and puts it in place of the old one, without moving what somebody looks at.
(() => {
  const EVERY = 5000, PATIENCE = 4000;
  const main = document.querySelector("main");
  const age = document.getElementById("age");
  const trouble = document.getElementById("trouble");
  // What somebody has opened or closed himself.
  const chosen = new Map();
  let last = null, at = Date.now(), asking = false;

  const clock = (time) => new Date(time).toISOString().slice(11, 19) + " UTC";

  const tellAge = () => {
    const seconds = Math.max(0, Math.round((Date.now() - at) / 1000));
    age.textContent = "As of " + clock(at) + ", " + seconds + " s ago";
  };

  const tellTrouble = (text) => {
    if (trouble.textContent !== text) trouble.textContent = text;
    document.body.classList.toggle("stale", text !== "");
  };

  const put = (text) => {
    if (text === last) return;
    last = text;
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && (focused.id || (focused.parentElement && focused.parentElement.id));
    const anchor = [...main.querySelectorAll("[id]")].filter((e) => e.getBoundingClientRect().top <= 1).pop();
    const before = anchor && anchor.getBoundingClientRect().top;
    const scrolled = [...main.querySelectorAll("pre[id]")].map((e) => [e.id, e.scrollTop]);
    main.innerHTML = text;
    for (const [id, top] of scrolled) {
      const same = document.getElementById(id);
      if (same) same.scrollTop = top;
    }
    for (const [id, open] of chosen) {
      const details = document.getElementById(id);
      if (details) details.open = open; else chosen.delete(id);
    }
    const same = place && document.getElementById(place);
    if (same) (same.querySelector(":scope > summary") || same).focus({ preventScroll: true });
    const there = anchor && document.getElementById(anchor.id);
    if (there) window.scrollBy(0, there.getBoundingClientRect().top - before);
  };

  const isBusy = () => {
    const selection = window.getSelection();
    const selects = selection && !selection.isCollapsed && main.contains(selection.anchorNode);
    return selects || document.activeElement instanceof HTMLInputElement;
  };

  const ask = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch("/main" + location.search, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      const text = await answer.text();
      if (!answer.ok) {
        tellTrouble("The proxy answers with status " + answer.status + ": what is shown is old. Load the page again.");
      } else {
        // Nothing is taken away from under somebody who copies or types.
        if (!isBusy()) { put(text); at = Date.now(); }
        tellTrouble("");
      }
    } catch {
      tellTrouble("The proxy does not answer: what is shown is as of " + clock(at) + ".");
    }
    asking = false;
    tellAge();
  };

  main.addEventListener("click", (event) => {
    const summary = event.target.closest("summary");
    if (summary) chosen.set(summary.parentElement.id, !summary.parentElement.open);
  });
  document.addEventListener("visibilitychange", ask);
  setInterval(tellAge, 1000);
  setInterval(ask, EVERY);
  tellAge();
})();
