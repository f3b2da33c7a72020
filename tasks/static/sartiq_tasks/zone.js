/* Switches the pages' times to the zone of this browser, and back: a cookie tells the server, for a year. */
"use strict";
(() => {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;

    const keep = (zone, seconds) => {
        const secure = location.protocol === "https:" ? ";secure" : "";
        document.cookie = `sartiq_tasks_zone=${zone};path=/;max-age=${seconds};samesite=lax${secure}`;
        location.reload();
    };

    document.addEventListener("DOMContentLoaded", () => {
        const button = document.getElementById("st-zone-switch");
        if (!button) return;
        const { zone, usual, isChosen } = button.dataset;
        const other = isChosen ? usual : own;
        if (!other || other === zone) return;
        button.textContent = button.dataset.text.replace("ZONE", other);
        button.addEventListener("click", () => (isChosen ? keep("", 0) : keep(own, 31536000)));
        button.hidden = false;
    });
})();
