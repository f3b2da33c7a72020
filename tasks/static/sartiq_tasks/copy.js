/* Buttons with data-copy="ID" copy the text of the element with that id; without it there are none. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy]")) {
        button.hidden = false;
        button.addEventListener("click", async () => {
            await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
            button.textContent += " ✓";
        }, { once: true });
    }
});
