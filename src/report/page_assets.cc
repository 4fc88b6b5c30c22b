// Style and script of the HTML report. Colours were chosen for a contrast of at least 4.5 for text
// and 3 for shapes on their background (WCAG 2.2, 1.4.3 and 1.4.11).
#include "report/html.h"

namespace sluice::report {

std::string_view PageStyle() {
  return R"css(
:root{color-scheme:light dark;
--back:#fff;--card:#f5f7f9;--text:#1b2127;--soft:#55606b;
--line:#d3d9df;--accent:#0b5cad;--bad:#b3261e;--good:#1a6e34;--total:#4f6478;--faint:#a9b4bf;
--f0:#2166b0;--f1:#8547b8;--f2:#a85a00;--f3:#0c756b;--f4:#68727d;--f5:#94603f;--f6:#c0271f;
--f7:#577a0a;--f8:#3f4a54}
@media (prefers-color-scheme:dark){:root{
--back:#11161b;--card:#1a2128;--text:#e6ebf0;--soft:#a3afba;
--line:#34404b;--accent:#7db8f5;--bad:#ff8f87;--good:#7fd49a;--total:#8ba2b8;--faint:#5c6873;
--f0:#6aaaf0;--f1:#c598ef;--f2:#e6a356;--f3:#4cc2b4;--f4:#a6b1bc;--f5:#cf9d7f;--f6:#ff7d74;
--f7:#a8c95c;--f8:#d5dce3}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.5rem clamp(1rem,4vw,3rem) 3rem;background:var(--back);
color:var(--text);font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:clamp(1.25rem,4vw,1.9rem);line-height:1.2;margin:.1rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.4rem 0 .5rem;padding-top:.4rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem}
p{margin:.4rem 0 .8rem;max-width:70ch}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.9em;overflow-wrap:anywhere}
.kind{margin:0;color:var(--accent);font-weight:600}
.meta{color:var(--soft);font-size:.9rem;max-width:none}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--back);padding:.4rem .8rem;z-index:2}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(15rem,44%),1fr));gap:.75rem;
margin:1.2rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.tile dt{color:var(--soft);font-size:.85rem}
.tile dd{margin:0}
.tile b{display:block;font-size:1.35rem;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.losses{list-style:none;margin:0;padding:0;border-top:1px solid var(--line)}
.losses li{display:grid;grid-template-columns:8rem 1fr;gap:1rem;padding:.8rem 0;
border-bottom:1px solid var(--line)}
.losses p{margin:0 0 .2rem;overflow-wrap:anywhere}
.losses .cause{font-weight:600}
.losses .remedy{color:var(--soft)}
.cost{font-variant-numeric:tabular-nums}
.cost b{display:block;font-size:1.15rem}
.cost span{color:var(--soft)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:.5rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.35rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}
thead th{background:var(--card);white-space:nowrap;font-weight:600;vertical-align:bottom}
tbody th{font-weight:400;overflow-wrap:anywhere;min-width:9rem;max-width:26rem}
tbody th span{display:block;color:var(--soft);font-size:.85em}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
thead button{all:unset;cursor:pointer;font:inherit}
thead button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
thead button::after{content:"\2195";content:"\2195"/"";
color:var(--soft);padding-left:.3em;font-weight:400}
th[aria-sort=ascending] button::after{content:"\2191";content:"\2191"/"";color:var(--text)}
th[aria-sort=descending] button::after{content:"\2193";content:"\2193"/"";color:var(--text)}
#step-table tbody th{min-width:17rem}
#feature-table td:nth-child(2){min-width:11rem}
tr:target,tr:focus{background:var(--card);outline:2px solid var(--accent);outline-offset:-2px}
.bar{min-width:10rem;width:34%;vertical-align:middle}
.bar svg,.legend svg{display:block}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none;padding:0;margin:.3rem 0 .7rem;
font-size:.9rem}
.legend li{display:flex;align-items:center;gap:.4rem}
.total{fill:var(--total)}.lost{fill:var(--f6)}.roof{fill:var(--f3)}.faint{fill:var(--faint)}
.f0{fill:var(--f0)}.f1{fill:var(--f1)}.f2{fill:var(--f2)}.f3{fill:var(--f3)}.f4{fill:var(--f4)}
.f5{fill:var(--f5)}.f6{fill:var(--f6)}.f7{fill:var(--f7)}.f8{fill:var(--f8)}
.bad,.worse td,.worse th{color:var(--bad)}
.better td,.better th{color:var(--good)}
.roofline{display:block;width:100%;min-width:44rem;height:auto;font-size:13px}
.roofline text{fill:var(--soft)}
.roofline .on{fill:var(--text);paint-order:stroke;stroke:var(--back);stroke-width:4px}
.roofline .grid{stroke:var(--line);stroke-width:1}
.roofline .peak,.roofline .level{stroke:var(--total);stroke-width:2}
.roofline .level{stroke-dasharray:6 4}
.roofline .point{fill-opacity:.75;stroke:var(--back);stroke-width:1.5}
.roofline a:focus-visible{outline:none}
.roofline a:focus-visible circle{stroke:var(--text);stroke-width:3;fill-opacity:1}
.filter input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--soft);
border-radius:.3rem;padding:.25rem .5rem;max-width:100%}
footer{margin-top:2rem;border-top:1px solid var(--line)}
@media (max-width:40rem){.losses li{grid-template-columns:1fr;gap:.2rem}
.cost b{display:inline}.bar{min-width:7rem}th,td{padding:.35rem .45rem}
tbody th{min-width:8rem;max-width:14rem}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
@media print{.scroll{overflow:visible;border:0}.filter,.skip{display:none}body{max-width:none}}
)css";
}

std::string_view PageScript() {
  return R"js(
"use strict";
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const at = [...head.parentNode.children].indexOf(head);
    const body = head.closest("table").tBodies[0];
    const number = head.classList.contains("n");
    const was = head.getAttribute("aria-sort");
    const down = was ? was === "ascending" : number;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => number ? Number(row.cells[at].dataset.v) : row.cells[at].textContent;
    const order = (a, b) => number ? key(a) - key(b)
        : key(a).localeCompare(key(b), undefined, {numeric: true});
    body.append(...[...body.rows].sort((a, b) => down ? order(b, a) : order(a, b)));
  });
}
const filter = document.getElementById("filter");
if (filter) {
  const rows = [...document.getElementById("step-table").tBodies[0].rows];
  const count = document.getElementById("count");
  filter.addEventListener("input", () => {
    const text = filter.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const cells = [1, 2, 3].map((i) => row.cells[i].textContent).join(" ").toLowerCase();
      row.hidden = !cells.includes(text);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = text ? shown + " of " + rows.length + " steps" : "";
  });
}
)js";
}

}  // namespace sluice::report
