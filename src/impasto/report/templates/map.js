"use strict";

const buttons = [...document.querySelectorAll("button[data-group]")];

for (const button of buttons) {
  button.addEventListener("click", () => {
    const chosen = button.getAttribute("aria-pressed") === "true" ? null : button.dataset.group;
    for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.group === chosen));
    for (const image of document.querySelectorAll(".map img")) {
      image.classList.toggle("away", chosen !== null && image.dataset.group !== chosen);
    }
  });
}
