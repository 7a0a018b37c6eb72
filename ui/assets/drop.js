// A place on which folders of pictures are dropped, or in which one is chosen.  Browsers tell no path of them, so their
// files are uploaded, with the names that they have within what was dropped.
const UPLOADS_AT_ONCE = 4;

// All files below an entry, as [name with its folders, File]; hidden ones are passed over.
async function* filesBelow(entry) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    yield [entry.fullPath.slice(1), await new Promise((resolve, reject) => entry.file(resolve, reject))];
    return;
  }
  const reader = entry.createReader();
  const read = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  // They come a hundred at a time, and none when all were told.
  for (let some = await read(); some.length; some = await read()) for (const one of some) yield* filesBelow(one);
}

function chosenFiles(input) {
  const files = [...input.files].map((file) => [file.webkitRelativePath || file.name, file]);
  return files.filter(([name]) => !name.split("/").some((part) => part.startsWith(".")));
}

// element, upload, trigger: of the gr.HTML.  Its upload event tells [name, uploaded file]; "" for what is not wanted.
darkroom.takesFolders = (element, upload, trigger) => {
  const zone = () => element.querySelector("[data-endings]");
  const usual = zone().querySelector("span").textContent;
  let stopped = null; // a function while something is going on

  function say(text) {
    zone().querySelector("span").textContent = text;
    zone().querySelector("button").hidden = !stopped;
    zone().classList.toggle("busy", Boolean(stopped));
  }

  async function uploaded(files) {
    const endings = zone().dataset.endings.split(" ");
    const wanted = files.filter(([name]) => endings.some((ending) => name.toLowerCase().endsWith(ending)));
    const paths = new Map();
    const queue = wanted.values(); // each takes the next
    const work = async () => {
      for (const [name, file] of queue) {
        paths.set(name, (await upload(file)).path);
        if (!stopped) return;
        say(`Uploading ${paths.size} of ${wanted.length} …`);
      }
    };
    await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
    return files.map(([name]) => [name, paths.get(name) ?? ""]);
  }

  // find: gives the files.
  async function take(find) {
    if (stopped) return;
    let isStopped = false;
    stopped = () => { isStopped = true; stopped = null; say(usual); };
    say("Reading the folder …");
    try {
      const files = await uploaded(await find());
      if (isStopped) return;
      stopped = null;
      say(usual);
      trigger("upload", { files });
    } catch (error) {
      if (isStopped) return;
      stopped = null;
      say(`Not uploaded: ${error.message || error}`);
    }
  }

  element.addEventListener("change", ({ target }) => {
    const files = chosenFiles(target);
    target.value = ""; // the same folder may be chosen again
    if (files.length) take(() => files);
  });
  element.addEventListener("click", (event) => {
    if (event.target.matches("button")) stopped?.();
    if (stopped || event.target.matches("button")) event.preventDefault();
  });
  element.addEventListener("drop", (event) => {
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    take(async () => {
      const files = [];
      for (const entry of entries) for await (const file of filesBelow(entry)) files.push(file);
      return files;
    });
  });

  // Files that are dropped beside it would be opened in place of the page.
  for (const kind of ["dragover", "dragleave", "drop"])
    window.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files") || !element.checkVisibility()) return;
      zone().classList.toggle("over", kind === "dragover" && element.contains(event.target));
      if (!event.defaultPrevented) event.preventDefault();
    });
};
