// A button beside each field that takes a path, and the dialog in which folders and files of the server's disk are
// chosen (ui/picker.py).
{
  const dialog = Object.assign(document.createElement("dialog"), { className: "picker" });
  dialog.setAttribute("aria-label", "Choose a folder or file");
  dialog.innerHTML = `<p class="where"></p><p class="problem" role="status"></p><ul></ul><form method="dialog">
    <button type="button" data-choose>Choose this folder</button><button>Cancel</button></form>`;
  const part = (selector) => dialog.querySelector(selector);
  let picker = null;
  let field = null;
  let wants = "";
  let asked = 0;
  const ask = (path) => picker.ask(path, ++asked);

  darkroom.picks = (given) => {
    picker = given;
    picker.watch("value", () => picker.props.value.asked === asked && dialog.open && show(picker.props.value));
  };

  // box: around a label and the field that takes the path.  kind: "file", "folder", or "path" for either.
  darkroom.pickButton = (box, kind) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "pick", textContent: "…" });
    button.setAttribute("aria-label", `Choose: ${box.querySelector("label span").textContent.trim()}`);
    button.onclick = () => pickFor(box.querySelector("label :is(input, textarea)"), kind);
    return button;
  };

  // Gradio's own fields get the button whenever they are drawn.
  darkroom.dressPaths = () => {
    for (const kind of ["file", "folder"])
      for (const box of document.querySelectorAll(`.picks-${kind}:not(:has(> .pick))`)) box.append(darkroom.pickButton(box, kind));
  };

  function pickFor(control, kind) {
    [field, wants] = [control, kind];
    if (!dialog.isConnected) darkroom.dialogs().append(dialog);
    part("ul").replaceChildren();
    part(".where").textContent = "…";
    part(".problem").textContent = "";
    dialog.showModal();
    ask(control.value);
  }

  function show({ folder: path, up, folders, files, problem }) {
    part(".where").textContent = path || "Choose where to start";
    part(".problem").textContent = problem;
    part("[data-choose]").disabled = !path || wants === "file";
    const separator = path.includes("\\") ? "\\" : "/";
    const whole = (name) => (path ? path.replace(/[\\/]$/, "") + separator + name : name);
    const entries = folders.map((name) => entry(name + (path ? separator : ""), "folder", () => ask(whole(name))));
    if (path) entries.unshift(entry("..", "folder", () => ask(up)));
    if (wants !== "folder") entries.push(...files.map((name) => entry(name, "file", () => choose(whole(name)))));
    part("ul").replaceChildren(...entries);
    part("ul button")?.focus();
  }

  function entry(words, kind, act) {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", className: kind, textContent: words });
    button.onclick = act;
    item.append(button);
    return item;
  }

  function choose(path) {
    field.value = path;
    for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    dialog.close();
    field.focus();
  }

  part("[data-choose]").onclick = () => choose(part(".where").textContent);
}
