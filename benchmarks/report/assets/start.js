/* Draw every section, then let the navigation follow the reader. */
(() => {
  Object.entries(MosaicBench.sections).forEach(([key, make]) => {
    const root = document.getElementById(key), data = MosaicBench.all.sections[key];
    if (!root || data === undefined || !root.querySelector("[data-controls]")) return;
    const draw = make(root, data);
    if (draw) { MosaicBench.drawers.push(draw); draw(); }
  });
  // On paper nothing can be unfolded: what is folded is printed open, and folded again afterwards.
  let folded = [];
  function unfold() {
    folded.push(...document.querySelectorAll("details:not([open])"));
    folded.forEach((item) => { item.open = true; });
  }
  function fold() {
    folded.forEach((item) => { item.open = false; });
    folded = [];
  }
  window.addEventListener("beforeprint", unfold);
  window.addEventListener("afterprint", fold);
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const sections = [...document.querySelectorAll("main > section")];
  let current = null, waiting = false;
  function follow() {
    waiting = false;
    const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 4;
    const line = window.innerHeight * 0.3;
    const here = atEnd && window.scrollY > 0 ? sections.at(-1) : sections.filter((item) => item.getBoundingClientRect().top <= line).at(-1) || sections[0];
    if (!here || here.id === current) return;
    links.get(current)?.removeAttribute("aria-current");
    current = here.id;
    const link = links.get(current), bar = link.closest("nav");
    link.setAttribute("aria-current", "true");
    if (bar.scrollWidth > bar.clientWidth) bar.scrollLeft = link.offsetLeft - bar.clientWidth / 2;
  }
  window.addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(follow); } }, { passive: true });
  follow();
  document.documentElement.dataset.ready = "true";
})();
