"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  for (const image of document.querySelectorAll("img[data-same]:not([src])")) image.src = $(image.dataset.same).src;
  const all = [...document.querySelectorAll("img[data-row]")];
  const viewer = $("viewer"), stage = $("stage"), stack = $("stack"), over = $("over"), under = $("under");
  const against = $("against"), slide = $("slide");
  let shown = null, zoom = 1;

  const named = (image) => ({ content: "photograph", style: "style" })[image.dataset.kind] ?? image.dataset.label;
  const row = () => all.filter((image) => image.dataset.row === shown.dataset.row);

  function layout() {
    const scale = Math.min(stage.clientWidth / over.naturalWidth, stage.clientHeight / over.naturalHeight) || 1;
    stack.style.width = `${over.naturalWidth * scale * zoom}px`;
    stack.style.height = `${over.naturalHeight * scale * zoom}px`;
  }

  // left of the slider lies the picture that is compared with, right of it the one that was clicked
  function divide() {
    over.style.clipPath = against.value === "" ? "none" : `inset(0 0 0 ${slide.value}%)`;
    slide.disabled = against.value === "";
  }

  function compare() {
    const other = row()[Number(against.value)];
    under.src = against.value === "" ? over.src : other.src;
    under.style.objectFit = other && other.dataset.kind === "style" ? "cover" : "fill";
    divide();
  }

  function show(image) {
    const kept = against.selectedOptions[0]?.textContent;
    shown = image;
    over.src = image.src;
    $("label").textContent = image.dataset.label;
    against.replaceChildren(new Option("nothing", ""));
    row().forEach((other, index) => {
      if (other !== image) against.append(new Option(named(other), index));
    });
    const names = [...against.options].map((option) => option.textContent);
    const wanted = kept !== undefined ? names.indexOf(kept) : image.dataset.kind === "result" ? names.indexOf("photograph") : 0;
    against.selectedIndex = Math.max(0, wanted);
    compare();
    if (!viewer.open) {
      viewer.showModal();
      stage.focus();
    }
    over.decode().then(layout, layout);
  }

  function step(by) {
    show(all[(all.indexOf(shown) + by + all.length) % all.length]);
  }

  function magnify(factor) {
    const x = (stage.scrollLeft + stage.clientWidth / 2) / stack.clientWidth;
    const y = (stage.scrollTop + stage.clientHeight / 2) / stack.clientHeight;
    zoom = Math.min(16, Math.max(1, zoom * factor));
    layout();
    stage.scrollLeft = x * stack.clientWidth - stage.clientWidth / 2;
    stage.scrollTop = y * stack.clientHeight - stage.clientHeight / 2;
  }

  for (const image of all) image.closest("button").addEventListener("click", () => { zoom = 1; against.replaceChildren(); show(image); });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("in").addEventListener("click", () => magnify(1.5));
  $("out").addEventListener("click", () => magnify(1 / 1.5));
  $("close").addEventListener("click", () => viewer.close());
  against.addEventListener("change", compare);
  slide.addEventListener("input", divide);
  window.addEventListener("resize", () => viewer.open && layout());
  stage.addEventListener("wheel", (event) => { event.preventDefault(); magnify(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, { passive: false });
  let dragged = false;
  stage.addEventListener("pointerdown", (event) => { dragged = true; stage.setPointerCapture(event.pointerId); event.preventDefault(); });
  stage.addEventListener("pointerup", () => { dragged = false; });
  stage.addEventListener("pointermove", (event) => { if (dragged) stage.scrollBy(-event.movementX, -event.movementY); });
  viewer.addEventListener("keydown", (event) => {
    const inTool = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (event.key === "+" || event.key === "=") magnify(1.5);
    else if (event.key === "-") magnify(1 / 1.5);
    else if (event.key === "ArrowLeft" && !inTool) step(-1);
    else if (event.key === "ArrowRight" && !inTool) step(1);
    else return;
    event.preventDefault();
  });
})();
