/* Refreshes what is marked data-live every few seconds, while the tab is visible and not paused.
   It fetches the page itself, so that filters, search and page stay; without it, everything works. */
"use strict";
(() => {
    const start = () => {
        const bar = document.getElementById("st-live");
        if (!bar) return;
        const button = document.getElementById("st-live-toggle");
        const state = document.getElementById("st-live-state");
        let paused = sessionStorage.getItem("st-live-paused") === "yes";
        let busy = false;

        const tell = () => {
            button.textContent = paused ? bar.dataset.resume : bar.dataset.pause;
        };

        /* True while the user has text of the region selected: replacing it would lose that. */
        const isSelected = (region) => {
            const selection = document.getSelection();
            return selection && !selection.isCollapsed && selection.containsNode(region, true);
        };

        const replace = (region, fresh) => {
            if (region.innerHTML === fresh.innerHTML || isSelected(region)) return;
            const focused = region.contains(document.activeElement) ? document.activeElement : null;
            const place = focused && (focused.id || focused.getAttribute("href"));
            const scrolled = [...region.querySelectorAll("[tabindex], .results")].map((e) => [e.scrollLeft, e.scrollTop]);
            const checked = new Set([...region.querySelectorAll("input:checked")].map((input) => input.value));
            region.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
            [...region.querySelectorAll("[tabindex], .results")].forEach((element, index) => {
                [element.scrollLeft, element.scrollTop] = scrolled[index] || [0, 0];
            });
            for (const input of region.querySelectorAll("input[type=checkbox]")) {
                input.checked = checked.has(input.value);
            }
            if (!place) return;
            const same = [...region.querySelectorAll("[id], [href]")].find(
                (element) => element.id === place || element.getAttribute("href") === place
            );
            if (same) same.focus({ preventScroll: true });
        };

        const refresh = async () => {
            if (busy || paused || document.visibilityState !== "visible") return;
            busy = true;
            try {
                const response = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
                if (!response.ok) throw new Error(String(response.status));
                const page = new DOMParser().parseFromString(await response.text(), "text/html");
                if (paused) return;
                for (const region of document.querySelectorAll("[data-live]")) {
                    const fresh = page.getElementById(region.id);
                    if (fresh) replace(region, fresh);
                }
                state.textContent = `${bar.dataset.updated} ${new Date().toLocaleTimeString()}`;
                /* A task that has ended needs no more of it. */
                if (!page.getElementById("st-live")) {
                    clearInterval(timer);
                    bar.hidden = true;
                }
            } catch {
                state.textContent = bar.dataset.failed;
            } finally {
                busy = false;
            }
        };

        button.addEventListener("click", () => {
            paused = !paused;
            sessionStorage.setItem("st-live-paused", paused ? "yes" : "no");
            tell();
            refresh();
        });
        document.addEventListener("visibilitychange", refresh);
        const timer = setInterval(refresh, Number(bar.dataset.seconds) * 1000);
        bar.hidden = false;
        tell();
    };
    document.addEventListener("DOMContentLoaded", start);
})();
