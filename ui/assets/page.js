// Fields of options: leads to them, and shows beside them what is wrong, what was changed, and kohya's key.
function readIndex() {
  const index = JSON.parse(document.getElementById("option-index").textContent);
  for (const [name, option] of Object.entries(index.options)) {
    option.key ??= name;
    option.standing = index.standings[option.standing]; // undefined for an option that acts
  }
  return index;
}

// What the fields' help texts say, by the fields' ids: they come with the page once, in what its forms are drawn from.
let helps = null;
function helpOf(id) {
  const texts = /<p class="help" id="(.*?)-help">(.*?)<\/p>/gs;
  const plain = (html) => Object.assign(document.createElement("textarea"), { innerHTML: html }).value;
  helps ??= new Map(
    gradio_config.components
      .flatMap(({ props }) => [...(props.html_template || "").matchAll(texts)])
      .map(([, field, html]) => [field, plain(html)]),
  );
  return helps.get(id) || "";
}

const TRAIN = "Train"; // the tab that holds the form

window.darkroom = {
  problems: [],
  form: "", // the stamp of what the form says now; "" before its first change
  index: readIndex(),

  method: "lora", // the chosen one; the defaults' until the form says another

  methodIs(method) {
    this.method = method || this.method;
    for (const tab of document.querySelectorAll("#methods [data-method]")) {
      const isChosen = tab.dataset.method === this.method;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
    }
  },

  showProblems(problems) {
    this.problems = problems || [];
    this.dressFields();
  },

  // What was wrong with a field goes when it is changed; the list of all stays, and says that it is older.
  forget(name) {
    if (!this.problems.some((problem) => problem.option === name)) return;
    this.showProblems(this.problems.filter((problem) => problem.option !== name));
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

  // Opens the tabs and folds around an option's field, then scrolls to it.  Where the field is hidden, for it means
  // nothing beside another option's value, this leads to the other option.
  // form: what begins the fields' ids: the name of a utility, for those of its form.
  async goTo(name, form = "option") {
    if (form !== "option") {
      for (const id of this.index.tabs[form]) await this.openTab(id);
      return this.markField(await this.shown(`#${form}-${name}`, 4000));
    }
    const option = this.index.options[name];
    if (!option || option.standing) return;
    await this.openTab(TRAIN);
    for (const [kind, id] of this.index.ways[option.section]) {
      if (kind === "tab") await this.openTab(id);
      else document.getElementById(id).open = true;
    }
    const field = document.getElementById(`option-${name}`);
    if (!field) return;
    const controller = Object.keys(option.needs || {}).find((other) => this.index.options[other]);
    if (field.hidden || field.closest("[hidden]")) return controller && this.goTo(controller);
    await this.markField(field);
  },

  // The picture that was clicked opens above all pictures, which may be far away.
  async editCaption() {
    const field = await this.shown("#dataset-caption textarea", 2000);
    field?.focus({ preventScroll: true });
    document.getElementById("dataset-editor")?.scrollIntoView({ block: "nearest" });
  },

  // Where dialogs are put, to have the page's looks.
  dialogs() {
    return document.querySelector(".gradio-container") || document.body;
  },

  leadTo(id) {
    document.getElementById(id)?.scrollIntoView({ block: "start", behavior: "smooth" });
  },

  async markField(field) {
    if (!field) return;
    field.classList.add("found");
    for (const help of field.querySelectorAll("details.help")) help.open = true;
    setTimeout(() => field.classList.remove("found"), 2500);
    field.querySelector("[name], input, textarea")?.focus({ preventScroll: true });
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

  async openTab(id) {
    const tab = await this.shown(`[role="tab"][data-tab-id="${id}"]`, 1000);
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
    for (const [name, { box }] of this.forms.option?.fields || []) {
      const option = this.index.options[name];
      const facts = [`kohya_ss: ${option.key}`, `default: ${option.standard}`, option.range];
      box.title ||= [helpOf(box.id), facts.filter(Boolean).join(" · ")].join("\n");
      this.dressReset(box, resets.get(name));
      this.dressProblems(box, this.problems.filter((problem) => problem.option === name));
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
    button.type = "button";
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

// Which tabs are open: the page's looks hang on the outermost, and a page that is loaded anew opens them again.
const TABS = "darkroom-tabs";
function openTabs() {
  const selected = document.querySelectorAll('[role="tab"][data-tab-id][aria-selected="true"]');
  return [...selected].filter((tab) => tab.getClientRects().length).map((tab) => tab.dataset.tabId);
}
function noteTabs() {
  document.documentElement.dataset.place = openTabs()[0] || TRAIN;
  try {
    sessionStorage.setItem(TABS, JSON.stringify(openTabs()));
  } catch {} // a browser may refuse to keep anything
}
document.addEventListener("click", (event) => {
  const tab = event.target.closest?.('[role="tab"][data-tab-id]');
  if (!tab) return;
  if (tab.closest("#places > .tab-wrapper")) document.documentElement.dataset.place = tab.dataset.tabId;
  setTimeout(noteTabs, 300); // those within are drawn after it
});
async function openAgain() {
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem(TABS)) || [];
  } catch {}
  if (!(await darkroom.shown('[role="tab"][data-tab-id="Train"]', 20000))) return;
  for (const id of kept) await darkroom.openTab(String(id));
  noteTabs();
}
openAgain();

// Light or dark: as the system has it, unless somebody has chosen.
const THEME = "darkroom-theme";
const isDark = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  try {
    return localStorage.getItem(THEME) || "";
  } catch {
    return "";
  }
}
function showTheme() {
  const chosen = theme();
  document.body.classList.toggle("dark", chosen ? chosen === "dark" : isDark.matches);
  const select = document.getElementById("theme");
  if (select) select.value = chosen;
}
document.addEventListener("change", (event) => {
  if (event.target.id !== "theme") return;
  try {
    localStorage.setItem(THEME, event.target.value);
  } catch {}
  showTheme();
});
isDark.addEventListener("change", () => setTimeout(showTheme)); // after Gradio's own
darkroom.shown("#theme", 20000).then(showTheme);

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
    darkroom.ageResults();
    darkroom.dressPaths();
  }, 50);
}).observe(document.documentElement, { childList: true, subtree: true });

// Paths to be pasted elsewhere. Away from this machine browsers give no clipboard without encryption: then the path is
// shown, marked, to be copied by hand.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy path"), 2000);
  } catch {
    prompt("Copy this path:", button.dataset.copy);
  }
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
