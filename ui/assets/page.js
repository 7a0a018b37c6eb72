// Brings what the check found to the fields that it is about.
window.darkroom = {
  showProblems(problems) {
    document.querySelectorAll(".option-problem").forEach((old) => old.remove());
    for (const problem of problems || []) {
      const field = document.getElementById("option-" + problem.option);
      if (!field) continue;
      const note = document.createElement("div");
      note.className = "option-problem" + (problem.blocking ? "" : " advice");
      note.textContent = problem.what + " " + problem.mend;
      field.appendChild(note);
    }
  },

  // Opens the tabs that a field stands in, then scrolls to it.
  goTo(option) {
    const field = document.getElementById("option-" + option);
    if (!field) return;
    for (let panel = field.closest('[role="tabpanel"]'); panel; panel = panel.parentElement.closest('[role="tabpanel"]')) {
      const tab = document.querySelector(`[role="tab"][aria-controls="${panel.id}"]`);
      if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
    }
    setTimeout(() => {
      field.scrollIntoView({ behavior: "smooth", block: "center" });
      field.querySelector("input, textarea")?.focus({ preventScroll: true });
    }, 150);
  },
};
