// The search box: finds options by label, older label, kohya's key, choice and help text, in the page's index.
{
  const MOST_HITS = 12;
  const plain = (text) => text.toLowerCase().replace(/[_\s/-]+/g, " ").trim();
  const input = () => document.getElementById("option-search");
  const list = () => document.getElementById("option-hits");
  const hits = () => [...list().querySelectorAll(".hit")];

  const AFTER = 40; // by how much a utility's option fits less than one of training: it comes after all that have its name

  function entryOf(name, given) {
    const option = { ...given, help: given.help || helpOf(`${given.form || "option"}-${name}`) };
    return {
      name,
      option,
      names: [option.label, option.key, name, ...(option.also || [])].map(plain),
      choices: Object.keys(option.choices || {}),
      help: plain(option.help + " " + option.section),
    };
  }

  let entries = null; // made when somebody first searches
  const allEntries = () => [
    ...Object.entries(darkroom.index.options).map(([name, option]) => entryOf(name, option)),
    ...darkroom.index.utilities.map((option) =>
      entryOf(option.name, { ...option, key: option.name, section: option.in.join(", ") }),
    ),
  ];

  // How well all words fit: 0 not at all; a name that begins with them is best, the help text comes last.
  function fit(entry, query, words) {
    const found = fitOf(entry, query, words);
    return entry.option.form ? Math.max(0, found - AFTER) || Number(found > 0) : found;
  }

  function fitOf(entry, query, words) {
    if (entry.names.includes(query)) return 100;
    let worst = entry.names.some((name) => name.startsWith(query)) ? 90 : 80;
    for (const word of words) {
      if (entry.names.some((name) => ` ${name}`.includes(` ${word}`))) continue;
      if (entry.names.some((name) => name.includes(word))) worst = Math.min(worst, 60);
      else if (entry.choices.some((choice) => plain(choice).includes(word))) worst = Math.min(worst, 50);
      else if (entry.help.includes(word)) worst = Math.min(worst, 30);
      else return 0;
    }
    return entry.option.standing ? worst - 25 : worst;
  }

  function find(text) {
    const query = plain(text);
    const words = query.split(" ").filter(Boolean);
    if (!words.length) return [];
    entries ??= allEntries();
    return entries
      .map((entry) => ({ ...entry, fit: fit(entry, query, words), words }))
      .filter((entry) => entry.fit)
      .sort((a, b) => b.fit - a.fit);
  }

  function element(tag, className, text) {
    return Object.assign(document.createElement(tag), { className, textContent: text });
  }

  // What hides the field now; the method's tab is said only where it is another one than the chosen one.
  function needs(option) {
    const tab = document.querySelector('#methods [role="tab"][aria-selected="true"]')?.textContent.trim();
    return Object.entries(option.needs || {})
      .filter(([name, text]) => name !== "method" || text.includes(" but ") === text.includes(tab))
      .map(([, text]) => text);
  }

  function drawn({ name, option, names, choices, words }, number) {
    const hit = element("li", option.standing ? "hit waits" : "hit", "");
    Object.assign(hit, { id: `option-hit-${number}`, role: "option" });
    hit.dataset.option = name;
    hit.dataset.form = option.form || "option";
    hit.append(element("b", "", option.label), element("code", "", option.key));
    hit.append(element("small", "where", option.standing ? "" : option.section.replaceAll("/", " › ")));
    const older = (option.also || []).filter((label) => words.some((word) => plain(label).includes(word)));
    const found = words.every((word) => names.some((label) => label.includes(word)))
      ? []
      : choices.filter((choice) => words.some((word) => plain(choice).includes(word)));
    const remarks = [
      older.length && `also called ${older.join(", ")}`,
      option.standing && `No field: ${option.standing}`,
      ...needs(option),
      ...found.slice(0, 3).map((choice) => choice + (option.choices[choice] ? ` (not supported yet: ${option.choices[choice]})` : "")),
    ].filter(Boolean);
    hit.append(element("small", "", remarks.join(" · ") || option.help));
    return hit;
  }

  // What stands in the list and cannot be chosen; lists of options hold nothing but options.
  function note(text) {
    return Object.assign(element("li", "none", text), { role: "option", ariaDisabled: "true" });
  }

  function show() {
    const found = find(input().value);
    const more = found.length - MOST_HITS;
    list().replaceChildren(...found.slice(0, MOST_HITS).map(drawn));
    if (more > 0) list().append(note(`and ${more} more; add a word to narrow the list`));
    if (!found.length) list().append(note("No option has these words in its label, key or help."));
    open(input().value.trim() !== "");
    mark(0);
  }

  function open(isOpen) {
    list().hidden = !isOpen;
    input().setAttribute("aria-expanded", isOpen);
  }

  function marked() {
    return hits().findIndex((hit) => hit.getAttribute("aria-selected") === "true");
  }

  function mark(number) {
    const all = hits();
    all.forEach((hit, i) => hit.setAttribute("aria-selected", i === number));
    all[number]?.scrollIntoView({ block: "nearest" });
    input().setAttribute("aria-activedescendant", all[number]?.id || "");
  }

  function choose(hit) {
    if (!hit || hit.classList.contains("waits")) return;
    open(false);
    input().blur();
    darkroom.goTo(hit.dataset.option, hit.dataset.form);
  }

  document.addEventListener("input", (event) => event.target === input() && show());
  document.addEventListener("focusin", (event) => event.target === input() && event.target.value && show());
  document.addEventListener("focusout", (event) => event.target === input() && open(false));
  document.addEventListener("mousedown", (event) => {
    if (!event.target.closest?.("#option-hits")) return;
    event.preventDefault(); // the box keeps the focus, and so the list stays
    choose(event.target.closest(".hit"));
  });
  document.addEventListener("mouseover", (event) => {
    const hit = event.target.closest?.("#option-hits .hit");
    if (hit) mark(hits().indexOf(hit));
  });
  document.addEventListener("keydown", (event) => {
    if (event.target !== input()) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const count = hits().length;
    if (event.key === "Escape") open(false);
    else if (event.key === "Enter") choose(hits()[marked()]);
    else if (step && count) mark((marked() + step + count) % count);
    else return;
    event.preventDefault();
  });
}
