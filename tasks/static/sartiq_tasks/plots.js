/* Shows the value of a plot at the pointer. The values come from the table below the plots, which shows them
   without this script, too. */
"use strict";
(() => {
    const nearest = (figure, x) => {
        let found = null;
        for (const row of document.querySelectorAll(".st-values [data-x]")) {
            const cell = row.querySelectorAll("td")[figure.dataset.column];
            const distance = Math.abs(Number(row.dataset.x) - x);
            if (cell.textContent && (!found || distance <= found.distance)) {
                found = { distance, x: row.dataset.x, time: row.querySelector("th").textContent, value: cell.textContent };
            }
        }
        return found;
    };

    document.addEventListener("pointermove", (event) => {
        const plot = event.target.closest(".st-plot");
        if (!plot) return;
        const { left, width } = plot.getBoundingClientRect();
        const figure = plot.closest(".st-figure");
        const found = nearest(figure, ((event.clientX - left) / width) * plot.viewBox.baseVal.width);
        if (!found) return;
        figure.querySelector("output").textContent = `${found.time}  ${found.value}`;
        plot.querySelector(".st-cursor").setAttribute("d", `M${found.x} 0V${plot.viewBox.baseVal.height}`);
    });
})();
