// The block editor: a slider for each block of the model, drawn as the model is built. It writes the comma lists of the
// form and reads them back, so that a list that is pasted there shows here, and the lists stay what a file says.
{
  const { sections: SECTIONS, switches, rated } = JSON.parse(document.getElementById("model-blocks").textContent);
  const KINDS = {
    rate: { words: "Learning rate (share of the full one)", usual: () => 1, most: 2, step: 0.05 },
    block_dims: { words: "Rank", usual: (values) => Number(values.network_dim), step: 1 },
    block_alphas: { words: "Alpha", usual: (values) => Number(values.network_alpha), step: 1 },
    conv_block_dims: { words: "Rank of 3×3 convolutions", usual: (values) => Number(values.conv_dim), step: 1 },
    conv_block_alphas: { words: "Alpha of 3×3 convolutions", usual: (values) => Number(values.conv_alpha), step: 1 },
  };
  const CURVES = {
    cosine: (share) => Math.sin((Math.PI / 2) * (1 - share)),
    sine: (share) => Math.sin((Math.PI / 2) * share),
    linear: (share) => share,
    reverse_linear: (share) => 1 - share,
    zeros: () => 0,
  };
  const half = (way) => ({ place, count }) => (way > 0 ? place >= count / 2 : place < count / 2);
  const within = (...sections) => ({ section }) => sections.includes(section);
  const SHAPES = {
    // By what is on: a block, its section, its number there, its place among all and how many these are.
    "All blocks": () => true,
    "No block": () => false,
    "Only down blocks (IN)": within("base", "down"),
    "Only the middle": within("mid"),
    "Only up blocks (OUT)": within("up", "out"),
    "Middle and up blocks": within("mid", "up", "out"),
    "Deep blocks (MIDD)": ({ section, number, size }) =>
      section === "mid" || (section === "down" && number >= size / 2) || (section === "up" && number < size / 2),
    "Shallow blocks (INS and OUTS)": ({ section, number, size }) =>
      (section === "down" && number < size / 2) || (section === "up" && number >= size / 2),
    "Only double blocks": within("double"),
    "Only single blocks": within("single"),
    "Single blocks 7, 12, 16 and 20": ({ section, number }) => section === "single" && [7, 12, 16, 20].includes(number),
    "First half": half(-1),
    "Second half": half(1),
    "Every other block": ({ place }) => place % 2 === 0,
  };
  const SHORT = { down: "IN", mid: "M", up: "OUT", base: "BASE", out: "LAST", double: "D", single: "S", joint: "J" };
  let kind = "block_dims";

  const form = () => darkroom.forms.option;
  function sectionsNow() {
    const { values } = form();
    const said = Object.entries(switches).find(([name]) => values[name] === true)?.[1] || "sd1";
    const several = SECTIONS[said === "flux" && values.flux_model_type === "chroma" ? "chroma" : said] || [];
    // Of several sizes the chosen model's, which the line below the form knows; else the one that a list is for.
    const known = Object.entries(JSON.parse(document.querySelector("#network-size [data-blocks]")?.dataset.blocks || "{}"));
    const given = (values[kind] || "").split(",").length;
    return (
      several.find((one) => known.length && known.every(([section, count]) => count <= one[section])) ||
      several.find((one) => Object.values(one).reduce((sum, count) => sum + count, 0) === given) ||
      several[0] ||
      {}
    );
  }

  function blocks(sections) {
    const all = Object.entries(sections).flatMap(([section, size]) =>
      Array.from({ length: size }, (_, number) => ({ section, number, size })),
    );
    return all
      .map((block, place) => ({ ...block, place, count: all.length, name: nameOf(block) }))
      .filter(({ section }) => kind !== "rate" || rated.includes(section));
  }

  function nameOf({ section, number, size }) {
    const digits = String(number).padStart(String(size - 1).length, "0");
    return (SHORT[section] || `${section} `) + (size > 1 ? digits : section === "mid" ? "ID" : "");
  }

  // ── the lists ──

  function numbers(text, size, usual) {
    const [curve, base = "0"] = text.replaceAll(" ", "").split("+");
    if (curve in CURVES && size > 1)
      return Array.from({ length: size }, (_, n) => CURVES[curve](n / (size - 1)) + Number(base));
    const given = text.replace(/[[\]]/g, "").split(",").map((one) => (one.trim() ? Number(one) : kind === "rate" ? 0 : NaN));
    return Array.from({ length: size }, (_, n) => (text.trim() && Number.isFinite(given[n]) ? given[n] : usual));
  }

  function read(sections) {
    const { values } = form();
    const usual = KINDS[kind].usual(values) || 0;
    if (kind !== "rate") return numbers(values[kind] || "", blocks(sections).length, usual);
    return rated.flatMap((section) => numbers(values[`${section}_lr_weight`] || "", sections[section] || 0, usual));
  }

  const isSet = () => (kind === "rate" ? rated.map((one) => `${one}_lr_weight`) : [kind]).some((name) => form().values[name]);

  function write(sections, list) {
    const text = (some) => some.map((one) => String(Math.round(one * 1000) / 1000)).join(",");
    if (kind !== "rate") return put(kind, list && text(list));
    for (const section of rated) put(`${section}_lr_weight`, list && text(list.splice(0, sections[section])));
  }

  function put(name, text) {
    const { control } = form().fields.get(name);
    control.value = text || "";
    control.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // ── the picture ──

  const editor = Object.assign(document.createElement("div"), { className: "block-editor" });
  let drawn = ""; // what of: drawn anew only where the model or the kind of list is another

  function draw() {
    const sections = sectionsNow();
    const isUnet = "down" in sections;
    if (kind === "rate" && !isUnet) kind = "block_dims"; // only UNets have such lists
    const all = blocks(sections);
    const list = read(sections);
    const signature = JSON.stringify([kind, sections]);
    if (drawn !== signature) {
      drawn = signature;
      const heads = ({ section, number, size }) =>
        isUnet || number ? "" : `<h6>${section[0].toUpperCase()}${section.slice(1)}${size > 1 ? `, ${size} blocks` : ""}</h6>`;
      const rows = all.map((block, place) => heads(block) + rowOf(block, place, isUnet)).join("");
      const names = Object.entries(SHAPES).filter(([, on]) => new Set(all.map((block) => on(block))).size === 2);
      editor.innerHTML = `<div class="block-head"><label>Set <select data-kind>${choices(isUnet)}</select></label>
        ${kind.endsWith("alphas") ? "" : shapes(names)}
        <button type="button" data-clear>Clear the list</button></div>
        <p class="block-note"></p><div class="blocks ${isUnet ? "unet" : "row"}">${rows}</div>`;
      if (!all.length) editor.innerHTML = "<p>This model's blocks have no numbers.</p>";
    }
    const most = KINDS[kind].most || Math.max(16, 2 * (KINDS[kind].usual(form().values) || 0), ...list);
    for (const [place, row] of editor.querySelectorAll("[data-place]").entries()) {
      const [range, number] = row.querySelectorAll("input");
      const value = list[Number(row.dataset.place)] ?? 0;
      range.max = Math.max(most, value);
      range.value = value;
      if (number !== document.activeElement) number.value = String(Math.round(value * 1000) / 1000);
      row.classList.toggle("off", value === 0);
    }
    const note = editor.querySelector(".block-note");
    if (note) note.textContent = isSet() ? "" : "No list yet: every block has the usual value. Move a slider to begin one.";
  }

  const shapes = (names) => `<label>Preset <select data-shape><option value="">Choose …</option><option>All blocks</option>
    ${names.map(([name]) => `<option>${name}</option>`).join("")}</select></label>`;

  const choices = (isUnet) =>
    Object.entries(KINDS)
      .filter(([name]) => (name === "rate" ? isUnet : !form().fields.get(name).box.hidden))
      .map(([name, { words }]) => `<option value="${name}"${name === kind ? " selected" : ""}>${words}</option>`)
      .join("");

  // In a UNet down blocks lead down on the left, the middle lies below, up blocks lead up again on the right.
  function rowOf({ section, number, size, name }, place, isUnet) {
    const row = { base: 1, out: 1, down: number + 2, up: size - number + 1, mid: number + 20 }[section];
    const column = { mid: "1 / -1", up: 2, out: 2 }[section] || 1;
    const depth = { down: (number + 1) / size, up: (size - number) / size }[section] || 0;
    const style = isUnet ? ` style="grid-row:${row};grid-column:${column};--depth:${depth.toFixed(2)}"` : "";
    return `<label data-place="${place}" data-section="${section}"${style}><span>${name}</span>
      <input type="range" min="0" step="${KINDS[kind].step}" aria-label="${name}, slider">
      <input inputmode="decimal" aria-label="${name}"></label>`;
  }

  editor.addEventListener("input", (event) => {
    event.stopPropagation(); // these are no fields of the form
    const { target } = event;
    const place = target.closest("[data-place]")?.dataset.place;
    const value = Number(target.value);
    const sections = sectionsNow();
    if (target.dataset.kind !== undefined) {
      kind = target.value;
      drawn = "";
    } else if (target.dataset.shape !== undefined) {
      const on = SHAPES[target.value];
      const usual = KINDS[kind].usual(form().values) || 0;
      if (on) write(sections, blocks(sections).map((block) => (on(block) ? usual : 0)));
      target.value = "";
    } else if (place !== undefined && target.value.trim() && value >= 0 && Number.isFinite(value)) {
      const list = read(sections);
      list[Number(place)] = kind.endsWith("dims") ? Math.round(value) : value;
      write(sections, list);
    }
    draw();
  });
  editor.addEventListener("change", (event) => {
    event.stopPropagation();
    draw();
  });
  editor.addEventListener("click", (event) => {
    if (event.target.dataset.clear === undefined) return;
    write(sectionsNow(), null);
    draw();
  });

  // From the folds of the other lists.
  function leadHere(fold, list) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "to-blocks" });
    button.textContent = "Set them block by block";
    button.addEventListener("click", () => {
      kind = list;
      darkroom.goTo("block_dims");
    });
    document.querySelector(`#section-parameters-advanced-${fold} > summary`).after(button);
  }

  // With the form, and again as often as that says something else, while the editor is open to be seen.
  darkroom.blocksChanged = () => {
    const fold = document.getElementById("section-parameters-advanced-blocks");
    if (!fold) return;
    if (!editor.isConnected) {
      fold.querySelector("summary").after(editor);
      fold.addEventListener("toggle", () => fold.open && draw());
      new MutationObserver(darkroom.blocksChanged).observe(document.getElementById("network-size"), {
        childList: true,
        subtree: true,
      });
      leadHere("weights", "rate");
      leadHere("conv", "conv_block_dims");
    }
    if (fold.open && !fold.hidden) draw();
  };
}
