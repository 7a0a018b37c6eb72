// Pictures that open large on the page: a click on one, then the arrow keys or buttons for those beside it.
{
  const dialog = Object.assign(document.createElement("dialog"), { className: "large" });
  dialog.innerHTML = `<img alt=""><p></p><form method="dialog">
    <button type="button" data-way="-1">Previous</button><button type="button" data-way="1">Next</button>
    <button>Close</button></form>`;
  let shown = "";

  const all = () => [...document.querySelectorAll("a.large-on-click")].filter((link) => link.getClientRects().length);

  function show(link) {
    const picture = link.querySelector("img");
    shown = link.getAttribute("href");
    dialog.querySelector("img").src = link.href;
    dialog.querySelector("img").alt = picture.alt;
    dialog.querySelector("p").textContent = picture.alt;
  }

  // By its address, for the pictures are drawn anew while a run goes on.
  function turn(way) {
    const links = all();
    const place = links.findIndex((link) => link.getAttribute("href") === shown);
    if (links.length) show(links.at((place + way) % links.length));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.large-on-click");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (!dialog.isConnected) darkroom.dialogs().append(dialog);
      show(link);
      dialog.showModal();
    } else if (event.target === dialog) dialog.close();
    const way = event.target.closest?.(".large [data-way]");
    if (way) turn(Number(way.dataset.way));
  });
  dialog.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (way) turn(way);
  });
}
