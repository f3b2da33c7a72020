/* Refreshes the regions marked data-live every few seconds, while the tab is visible and not paused.
   A list fetches its own page, so that filters, search and place stay. A task's page fetches the part
   that is new, and its earlier events on request. Without this script everything works. */
"use strict";
(() => {
    const parse = (text) => new DOMParser().parseFromString(text, "text/html");
    const imported = (nodes) => [...nodes].map((node) => document.importNode(node, true));
    const read = async (address) => {
        const response = await fetch(address, { credentials: "same-origin", redirect: "manual" });
        /* The only redirect is the one to the login. */
        if (response.type === "opaqueredirect") return null;
        if (!response.ok) throw new Error(String(response.status));
        return parse(await response.text());
    };

    /* Whether the user has selected text in the region: replacing it would lose the selection. */
    const isSelected = (region) => {
        const selection = document.getSelection();
        return selection && !selection.isCollapsed && selection.containsNode(region, true);
    };

    /* The markup that last replaced each region, in which the user may have opened something since. */
    const told = new WeakMap();

    const replace = (region, fresh) => {
        const html = fresh.innerHTML;
        for (const { name, value } of fresh.attributes) region.setAttribute(name, value);
        if (region.innerHTML === html || told.get(region) === html || isSelected(region)) return;
        told.set(region, html);
        const focused = region.contains(document.activeElement) ? document.activeElement : null;
        const place = focused && (focused.id || focused.getAttribute("href") || focused.parentElement.id);
        const scrolled = [...region.querySelectorAll("[tabindex], .results")].map((e) => [e.scrollLeft, e.scrollTop]);
        const checked = new Set([...region.querySelectorAll("input:checked")].map((input) => input.value));
        const opened = new Map([...region.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
        region.replaceChildren(...imported(fresh.childNodes));
        [...region.querySelectorAll("[tabindex], .results")].forEach((element, index) => {
            [element.scrollLeft, element.scrollTop] = scrolled[index] || [0, 0];
        });
        for (const input of region.querySelectorAll("input[type=checkbox]")) {
            input.checked = checked.has(input.value);
        }
        for (const one of region.querySelectorAll("details[id]")) {
            if (opened.has(one.id)) one.open = opened.get(one.id);
        }
        if (!place) return;
        const same = [...region.querySelectorAll("[id], [href]")].find(
            (element) => element.id === place || element.getAttribute("href") === place
        );
        if (same) (same.matches("details") ? same.querySelector("summary") : same).focus({ preventScroll: true });
    };

    const refreshRegions = (page) => {
        for (const region of document.querySelectorAll("[data-live]")) {
            const fresh = page.getElementById(region.id);
            if (fresh) replace(region, fresh);
        }
    };

    /* Puts the new blocks of events before the others, or in place of all others if none is known. */
    const grow = (page) => {
        const timeline = document.querySelector("[data-grows]");
        const fresh = page.getElementById("st-timeline");
        if (!timeline || !fresh) return;
        const blocks = [...fresh.querySelectorAll(".st-events")];
        const unknown = blocks.filter((block) => !document.getElementById(block.id));
        if (unknown.length === blocks.length) timeline.replaceChildren(...imported(fresh.childNodes));
        else timeline.prepend(...imported(unknown));
    };

    /* Where the newest block begins and ends; a page of earlier events has none that grows. */
    const partOf = (bar) => {
        const newest = document.querySelector("[data-grows] .st-events");
        const { from, last } = newest ? newest.dataset : { from: "0", last: "0" };
        return `${bar.dataset.part}?since=${from}&after=${last}`;
    };

    const start = () => {
        const bar = document.getElementById("st-live");
        if (!bar) return;
        const button = document.getElementById("st-live-toggle");
        const state = document.getElementById("st-live-state");
        /* For this page alone: on another, nobody would expect to look at what is old. */
        const key = `st-live-paused ${location.pathname}`;
        let paused = sessionStorage.getItem(key) === "yes";
        let busy = false;

        const tell = () => {
            button.textContent = paused ? bar.dataset.resume : bar.dataset.pause;
            state.textContent = paused ? bar.dataset.paused : bar.dataset.liveState;
        };

        const endOfSession = () => {
            clearInterval(timer);
            button.hidden = true;
            const login = document.createElement("a");
            login.href = location.href;
            login.textContent = bar.dataset.login;
            state.replaceChildren(`${bar.dataset.ended} `, login);
            bar.setAttribute("role", "alert");
        };

        const refresh = async () => {
            if (busy || paused || button.hidden || document.visibilityState !== "visible") return;
            busy = true;
            try {
                const page = await read(bar.dataset.part ? partOf(bar) : location.href);
                if (paused) return;
                if (!page) {
                    endOfSession();
                    return;
                }
                grow(page);
                refreshRegions(page);
                state.textContent = `${bar.dataset.updated} ${new Date().toLocaleTimeString(undefined, { hourCycle: "h23" })}`;
                /* A task that has ended no longer refreshes. */
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
            sessionStorage.setItem(key, paused ? "yes" : "no");
            tell();
            refresh();
        });
        document.addEventListener("visibilitychange", refresh);
        const timer = setInterval(refresh, Number(bar.dataset.seconds) * 1000);
        bar.hidden = false;
        tell();
    };

    /* Shows earlier events in this page instead of a page of their own. */
    const showEarlier = async (event) => {
        const link = event.target.closest("a[data-part]");
        if (!link) return;
        event.preventDefault();
        try {
            const page = await read(link.dataset.part);
            if (!page) throw new Error("The session has ended.");
            const place = link.parentElement;
            const added = imported(page.getElementById("st-timeline").childNodes);
            place.replaceWith(...added);
            added.find((node) => node.matches?.(".st-events"))?.querySelector("summary, a")?.focus();
        } catch {
            location.assign(link.href);
        }
    };

    document.addEventListener("DOMContentLoaded", start);
    document.addEventListener("click", showEarlier);
})();
