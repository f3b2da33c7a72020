/* Buttons with data-copy="ID" copy the text of the element with that id; without a clipboard they stay hidden. */
"use strict";
if (navigator.clipboard) {
    document.documentElement.classList.add("st-can-copy");
    document.addEventListener("click", async (event) => {
        const button = event.target.closest("[data-copy]");
        if (!button) return;
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        if (!button.textContent.endsWith("✓")) button.textContent += " ✓";
    });
}
