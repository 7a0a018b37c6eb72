// Forms: each is one component of Gradio's, whose fields are plain ones (ui/form_view.py). What they show is the truth:
// every entry is in the component's value at once, so that a button that is pressed in the same moment has it; the
// server is told a moment later. What comes from the server fills the fields that differ, but none that the user has
// changed since the server was asked.
{
  const TYPING = 200; // milliseconds after the last key until the server is told

  class Form {
    constructor(name, { element, props, watch, tells, edited, chosen, turned }) {
      Object.assign(this, { name, element, props, tells, edited, chosen, turned });
      this.serial = 0; // of the user's entries
      this.rest = ""; // what has no field; the server's to read
      this.values = {};
      this.fields = new Map();
      for (const control of element.querySelectorAll("[name]")) {
        const box = control.closest(".option");
        this.fields.set(control.name, {
          control,
          box,
          range: box.querySelector('input[type="range"]'),
          when: JSON.parse(box.dataset.when || "[]"),
          methods: box.dataset.methods?.split(" "),
          not: box.dataset.not?.split(" "),
          entered: 0, // the serial of its last entry
        });
        this.values[control.name] = read(control);
        dress(control, box);
      }
      this.groups = [...element.querySelectorAll(".block, .fold, section")]
        .map((box) => ({ box, fields: [...box.querySelectorAll("[name]")].map((control) => this.fields.get(control.name)) }))
        .reverse(); // from the inside out
      element.addEventListener("input", (event) => this.enter(event.target));
      element.addEventListener("change", (event) => this.finish(event.target));
      watch("value", () => this.take(props.value));
      if (props.value?.values) this.take(props.value);
      else this.showMeaningful();
    }

    enter(target) {
      const field = this.fieldOf(target);
      if (!field) return;
      const { control, range } = field;
      if (target === range) control.value = range.value;
      else if (range) range.value = control.value;
      this.values[control.name] = read(control);
      field.entered = ++this.serial;
      if (this.name === "option") darkroom.forget(control.name);
      this.say();
      this.showMeaningful();
      this.tell(target.type === "checkbox" || target.tagName === "SELECT" ? 0 : TYPING);
    }

    // When a field is left, or Enter pressed in it.
    finish(target) {
      const field = this.fieldOf(target);
      if (!field) return;
      if (this.waiting) this.tell(0);
      if (this.tells.includes(field.control.name)) this.chosen(field.control.name);
    }

    fieldOf(target) {
      return [...this.fields.values()].find(({ control, range }) => target === control || target === range);
    }

    say() {
      this.props.value = { values: { ...this.values }, rest: this.rest, method: this.method, serial: this.serial };
    }

    tell(patience) {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => {
        this.waiting = 0;
        this.edited();
      }, patience);
    }

    // What the server answers: see Form.fill() in ui/form.py.
    take({ values, rest, method, serial, undo }) {
      answered();
      const before = { values: { ...this.values }, rest: this.rest, method: this.method };
      const changed = Object.entries(values || {}).filter(([name, value]) => {
        const field = this.fields.get(name);
        return field && field.entered <= serial && this.put(field, value);
      });
      const isTurned = method !== this.method;
      Object.assign(this, { rest, method });
      if (undo) this.before = before;
      this.say();
      this.showMeaningful();
      this.tell(0);
      if (isTurned) this.turned();
      for (const [name] of changed) if (this.tells.includes(name)) this.chosen(name);
    }

    // Back to what was shown before the server filled the form.
    undo() {
      if (this.before) this.take({ ...this.before, serial: Infinity });
    }

    // Shows a value, and says whether it is another one; 1e-4 is no other than 0.0001.
    put({ control, range }, value) {
      const text = String(value ?? "");
      if (control.type === "checkbox") {
        if (control.checked === (value === true)) return false;
        control.checked = value === true;
      } else {
        const isNumber = control.inputMode && control.value.trim() && text;
        if (control.value === text || (isNumber && Number(control.value) === Number(text))) return false;
        control.value = text;
        if (range) range.value = text;
      }
      this.values[control.name] = read(control);
      return true;
    }

    // Shows the fields that have a meaning beside the others' values, and the headings that stand over any.
    showMeaningful() {
      for (const field of this.fields.values()) field.box.hidden = !this.applies(field);
      for (const { box, fields } of this.groups) box.hidden = fields.every((field) => field.box.hidden);
      if (this.name !== "option") return;
      darkroom.methodIs(this.method);
      if (darkroom.forms.option === this) darkroom.blocksChanged();
    }

    applies({ when, methods, not }) {
      const method = this.method || darkroom.method;
      if ((methods && !methods.includes(method)) || not?.includes(method)) return false;
      const value = (name) => (name === "method" ? method : this.values[name]);
      const holds = ([name, allowed]) =>
        (name !== "method" && !this.fields.has(name)) || allowed.some((one) => String(one) === String(value(name)));
      return !when.length || when.some((condition) => Object.entries(condition).every(holds));
    }
  }

  // What would be said of hundreds of fields alike.  A help text is folded away behind a question mark.
  function dress(control, box) {
    control.autocomplete = "off";
    control.spellcheck = false;
    if (box.dataset.pick) box.append(darkroom.pickButton(box, box.dataset.pick));
    const help = box.querySelector("p.help");
    if (!help) return;
    const fold = Object.assign(document.createElement("details"), { className: "help" });
    const mark = Object.assign(document.createElement("summary"), { textContent: "?" });
    mark.setAttribute("aria-label", `About ${box.querySelector("label").textContent}`);
    help.className = "";
    help.replaceWith(fold);
    fold.append(mark, help);
  }

  function read(control) {
    return control.type === "checkbox" ? control.checked : control.value;
  }

  // A button that takes what the form says, pressed while the server is still asked to fill it, waits for the answer:
  // else Start, right after Load, would start what stood there before. The answer is a fill, or a sentence why not.
  const PATIENCE = 10000; // milliseconds, should no answer come
  let asked = 0;
  let held = null;
  function answered() {
    clearTimeout(asked);
    asked = 0;
    const button = held;
    held = null;
    if (button) setTimeout(() => button.click());
  }
  darkroom.answered = answered;
  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest?.("button");
      if (button?.closest(".fills-form")) {
        clearTimeout(asked);
        asked = setTimeout(answered, PATIENCE);
      } else if (asked && button?.closest(".takes-form")) {
        event.stopImmediatePropagation();
        event.preventDefault();
        held = button;
      }
    },
    { capture: true },
  );

  darkroom.forms = {};
  darkroom.drawForm = (name, given) => {
    darkroom.forms[name] = new Form(name, given);
    if (name !== "option") return;
    darkroom.dressFields();
    darkroom.blocksChanged();
  };

  // ── tabs, and keys ──

  function openTab(tab) {
    for (const other of tab.parentElement.querySelectorAll(':scope > [role="tab"]')) {
      const isOpen = other === tab;
      other.setAttribute("aria-selected", isOpen);
      other.tabIndex = isOpen ? 0 : -1;
      const panel = document.getElementById(other.getAttribute("aria-controls"));
      if (panel) panel.hidden = !isOpen;
    }
  }

  document.addEventListener("click", (event) => {
    const tab = event.target.closest?.('.form-tabs > [role="tab"][data-tab-id]'); // those of the methods have none
    if (tab) openTab(tab);
  });

  const STEPS = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.('.form-tabs > [role="tab"]');
    if (!tab || !(event.key in STEPS)) return;
    const tabs = [...tab.parentElement.querySelectorAll(':scope > [role="tab"]')];
    const place = tabs.indexOf(tab) + STEPS[event.key];
    const next = Number.isFinite(place) ? tabs.at(place % tabs.length) : tabs.at(place > 0 ? -1 : 0);
    event.preventDefault();
    next.focus();
    next.click();
  });

  // Whole numbers go up and down by the arrow keys, as in fields for numbers; those would swallow what is no number.
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step || field.inputMode !== "numeric" || !/^-?\d+$/.test(field.value) || event.altKey || event.ctrlKey) return;
    event.preventDefault();
    field.value = String(Number(field.value) + step);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
