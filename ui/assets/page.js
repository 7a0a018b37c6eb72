// Fields of options: leads to them, and shows beside them what is wrong, what was changed, and kohya's key.
// Gradio draws a tab's fields when the tab is first opened, so fields are dressed whenever they appear.
function readIndex() {
  const index = JSON.parse(document.getElementById("option-index").textContent);
  for (const [name, option] of Object.entries(index.options)) {
    option.key ??= name;
    option.standing = index.standings[option.standing]; // undefined for an option that acts
  }
  return index;
}

window.darkroom = {
  problems: [],
  form: "", // the stamp of what the form says now; "" before its first change
  index: readIndex(),

  showProblems(problems) {
    this.problems = problems || [];
    this.dressFields();
  },

  formIs(stamp) {
    this.form = stamp;
    this.ageResults();
  },

  // What was made from another state of the form says so, until it is made anew or the form is as it was.
  ageResults() {
    for (const result of document.querySelectorAll("[data-form]"))
      result.classList.toggle("of-before", Boolean(this.form) && result.dataset.form !== this.form);
    const isOld = Boolean(document.querySelector("#findings .of-before"));
    document.documentElement.classList.toggle("findings-of-before", isOld);
  },

  // Opens the tabs and accordions around an option's field, then scrolls to it.  Where the field is hidden,
  // for it means nothing beside another option's value, this leads to the other option.
  // form: what begins the fields' ids: the name of a utility, for those of its form.
  async goTo(name, form = "option") {
    if (form !== "option") {
      for (const id of this.index.tabs[form]) await this.openTab(id);
      return this.markField(await this.shown(`#${form}-${name}`, 4000));
    }
    const option = this.index.options[name];
    if (!option || option.standing) return;
    for (const [kind, id] of this.index.ways[option.section]) {
      if (kind === "tab") await this.openTab(id);
      else (await this.shown(`#${id} > button:not(.open)`, 0))?.click();
    }
    const controller = Object.keys(option.needs || {}).find((other) => this.index.options[other]);
    const field = await this.shown(`#option-${name}`, controller ? 400 : 4000);
    if (!field) return controller && this.goTo(controller);
    await this.markField(field);
  },

  // The picture that was clicked opens above all pictures, which may be far away.
  async editCaption() {
    const field = await this.shown("#dataset-caption textarea", 2000);
    field?.focus({ preventScroll: true });
    document.getElementById("dataset-editor")?.scrollIntoView({ block: "nearest" });
  },

  async markField(field) {
    if (!field) return;
    field.classList.add("found");
    setTimeout(() => field.classList.remove("found"), 2500);
    field.querySelector('input:not([role="listbox"]), textarea')?.focus({ preventScroll: true });
    await this.bringIntoView(field);
  },

  // What opens above a field while its tab is drawn pushes it out of sight again: so it is looked after for a
  // second, or until the user scrolls.  Gliding there would be broken off by each of these pushes.
  async bringIntoView(field) {
    field.scrollIntoView({ block: "center" });
    const userScrolls = new AbortController();
    for (const kind of ["wheel", "touchmove", "keydown", "mousedown"])
      document.addEventListener(kind, () => userScrolls.abort(), { signal: userScrolls.signal, passive: true });
    for (const until = Date.now() + 1000; Date.now() < until && !userScrolls.signal.aborted; ) {
      const { top, bottom } = field.getBoundingClientRect();
      if (top < 0 || bottom > innerHeight) field.scrollIntoView({ block: "center" });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    userScrolls.abort();
  },

  // A tab that finds no room on a narrow page stands in a menu, where it has only its words.
  async openTab(id) {
    const label = id.split("/").at(-1);
    const tab =
      (await this.shown(`[role="tab"][data-tab-id="${id}"]`, 1000)) ||
      [...document.querySelectorAll(".overflow-dropdown button")].find((button) => button.textContent.trim() === label);
    if (tab?.getAttribute("aria-selected") !== "true") tab?.click();
  },

  // The first element that the selector names, once it can be seen; null after so many milliseconds.
  async shown(selector, patience) {
    const until = Date.now() + patience;
    for (;;) {
      const element = [...document.querySelectorAll(selector)].find((found) => found.getClientRects().length);
      if (element || Date.now() > until) return element || null;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  },

  dressFields() {
    const resets = new Map([...document.querySelectorAll("#changed [data-reset]")].map((b) => [b.dataset.reset, b]));
    for (const field of document.querySelectorAll('[id^="option-"].option')) {
      const name = field.id.slice("option-".length);
      const option = this.index.options[name];
      if (!option) continue;
      const facts = [`kohya_ss: ${option.key}`, `default: ${option.standard}`, option.range];
      field.title ||= [option.help, facts.filter(Boolean).join(" · ")].join("\n");
      this.dressReset(field, resets.get(name));
      this.dressProblems(field, this.problems.filter((problem) => problem.option === name));
    }
  },

  // A button that puts the field back, for as long as it differs from its default.
  dressReset(field, inTable) {
    const old = field.querySelector(":scope > .option-reset");
    if (!inTable === !old) return;
    if (old) return old.remove();
    const button = Object.assign(document.createElement("button"), { className: "option-reset", textContent: "↺" });
    button.title = inTable.title;
    button.setAttribute("aria-label", inTable.getAttribute("aria-label"));
    button.onclick = () => document.querySelector(`#changed [data-reset="${inTable.dataset.reset}"]`)?.click();
    field.appendChild(button);
  },

  dressProblems(field, problems) {
    const notes = [...field.querySelectorAll(":scope > .option-problem")];
    const wanted = problems.map((problem) => `${problem.what} ${problem.mend}`);
    if (notes.map((note) => note.textContent).join("\n") === wanted.join("\n")) return;
    notes.forEach((note) => note.remove());
    problems.forEach((problem, number) => {
      const className = problem.blocking ? "option-problem" : "option-problem advice";
      field.appendChild(Object.assign(document.createElement("div"), { className, textContent: wanted[number] }));
    });
  },
};

// The list of changes is drawn anew with each change; it stays as open as it was.
let changesOpen = false;
document.addEventListener("click", (event) => {
  const summary = event.target.closest?.("details.changed > summary");
  if (summary) changesOpen = !summary.parentElement.open; // it opens or closes right after the click
});

let isPlanned = false;
new MutationObserver(() => {
  if (isPlanned) return;
  isPlanned = true;
  setTimeout(() => {
    isPlanned = false;
    const changes = document.querySelector("details.changed");
    if (changes && changes.open !== changesOpen) changes.open = changesOpen;
    darkroom.dressFields();
    darkroom.ageResults();
  }, 50);
}).observe(document.documentElement, { childList: true, subtree: true });

// A moment after Gradio has drawn a tab it hands each field the value that it was drawn with.  What was typed or
// ticked in that moment would be gone, and the user not told: so it is entered again.  A button means that the form
// may change by itself.
const DRAWING = 2000; // milliseconds that the drawing of a tab takes on a slow machine
let tabOpened = -DRAWING;
let lastEntry = new WeakMap();
document.addEventListener(
  "click",
  (event) => {
    if (event.target.closest?.('[role="tab"]')) tabOpened = performance.now();
    else if (event.target.closest?.("button")) lastEntry = new WeakMap();
  },
  { capture: true },
);
document.addEventListener("input", (event) => {
  const field = event.target;
  if (field.closest?.("#manual, #dataset-editor")) return; // drawn long after its tab, and filled anew with each picture
  if (field.type === "file") return; // holds nothing that was typed
  const property = field.type === "checkbox" ? "checked" : "value";
  const entered = field[property];
  lastEntry.set(field, event);
  const look = () => {
    if (performance.now() - tabOpened > DRAWING || lastEntry.get(field) !== event) return;
    if (field[property] === entered) return requestAnimationFrame(look);
    field[property] = entered;
    for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
  };
  look();
});

// Captions by hand: keys that press buttons, from anywhere within the element that is named first.
const CAPTION_KEYS = {
  manual: { PageDown: "manual-next", PageUp: "manual-previous", "ctrl+Enter": "manual-lacking", "ctrl+s": "manual-save" },
  "dataset-editor": {
    PageDown: "dataset-after", PageUp: "dataset-before", "ctrl+Enter": "dataset-lacking", "ctrl+s": "dataset-save", Escape: "dataset-close",
  },
};
document.addEventListener("keydown", (event) => {
  const within = Object.keys(CAPTION_KEYS).find((id) => event.target.closest?.(`#${id}`));
  if (!within) return;
  const button = CAPTION_KEYS[within][(event.ctrlKey || event.metaKey ? "ctrl+" : "") + event.key];
  if (!button || event.altKey || event.shiftKey) return;
  event.preventDefault();
  document.getElementById(button)?.click();
});

// Captions that were changed and not saved would be gone with the page.
addEventListener("beforeunload", (event) => {
  if (document.querySelector("#dataset-drafts [data-unsaved]")) event.preventDefault();
});
