"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const store = `impasto-study-${STUDY.study}-${STUDY.trials.length}-${STUDY.trials[0].left}`;
  let answers = [], since = 0;

  // kept in the browser, so that a closed page goes on where it was; some browsers forbid it to local files
  function keep() { try { localStorage.setItem(store, JSON.stringify({ rater: $("rater").value, answers })); } catch { /* then not */ } }
  try {
    const kept = JSON.parse(localStorage.getItem(store));
    if (kept) { answers = kept.answers; $("rater").value = kept.rater; $("start").textContent = answers.length ? "Go on" : "Start"; }
  } catch { /* then from the beginning */ }

  function show() {
    const trial = STUDY.trials[answers.length];
    $("intro").hidden = true;
    $("ask").hidden = trial === undefined;
    $("end").hidden = trial !== undefined;
    if (trial === undefined) { $("save").focus(); return; }
    $("content").src = STUDY.pictures[trial.content];
    $("style").src = STUDY.pictures[trial.style];
    $("left-picture").src = STUDY.pictures[trial.left];
    $("right-picture").src = STUDY.pictures[trial.right];
    $("count").textContent = `${answers.length + 1} of ${STUDY.trials.length}`;
    $("back").disabled = answers.length === 0;
    since = performance.now();
  }

  function answer(choice) {
    if ($("ask").hidden) return;
    answers.push({ choice, milliseconds: Math.round(performance.now() - since) });
    keep();
    show();
  }

  function back() { if (!$("ask").hidden && answers.length) { answers.pop(); keep(); show(); } }

  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  function table() {
    const rater = $("rater").value.trim() || "anonymous";
    const lines = answers.map((given, index) => {
      const trial = STUDY.trials[index];
      return [rater, index + 1, trial.left, trial.right, given.choice, given.milliseconds].map(quoted).join(",");
    });
    return ["rater,trial,left,right,choice,milliseconds", ...lines].join("\r\n") + "\r\n";
  }

  $("start").addEventListener("click", show);
  $("left").addEventListener("click", () => answer("left"));
  $("right").addEventListener("click", () => answer("right"));
  $("tie").addEventListener("click", () => answer("tie"));
  $("back").addEventListener("click", back);
  $("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "answers.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  const keys = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", ArrowDown: "tie", 0: "tie" };
  window.addEventListener("keydown", (event) => {
    if ($("ask").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Backspace") back();
    else if (event.key in keys) answer(keys[event.key]);
    else return;
    event.preventDefault();
  });
})();
