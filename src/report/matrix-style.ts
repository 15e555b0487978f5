// SPDX-License-Identifier: Apache-2.0

/** From 320 pixels up; below 700 the table of cells is a list, and the families scroll sideways below their names. */
export const MATRIX_STYLE = `
:root{color-scheme:light dark;--back:#fff;--text:#1f2328;--dim:#59636e;--line:#d1d9e0;--raised:#f6f8fa;--link:#0550ae;
--good:#116329;--bad:#b3151f;--known:#7a4d00;--bad-back:#ffebe9;--known-back:#fff4d6}
@media(prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--dim:#9198a1;--line:#30363d;--raised:#161b22;--link:#79b8ff;
--good:#56d364;--bad:#ff8a80;--known:#e3b341;--bad-back:#3d1518;--known-back:#2e2508}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:90rem;padding:1rem;background:var(--back);color:var(--text)}
h1{font-size:1.5rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1.05rem;margin:0}
h4{font-size:1rem;font-weight:600;margin:.8rem 0 .2rem}
h3,h4,th,p,li,summary{overflow-wrap:anywhere}
p{margin:.3rem 0}.verdict{font-size:1.1rem;font-weight:600}.about,small{color:var(--dim);font-size:.85rem;font-weight:400}
a{color:var(--link)}a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th{font-weight:600;text-align:left}
thead th{font-size:.85rem;vertical-align:bottom}
.good{color:var(--good)}.bad{color:var(--bad)}.known{color:var(--known)}.none{color:var(--dim)}
svg .good{fill:var(--good)}svg .bad{fill:var(--bad)}svg .known{fill:var(--known)}svg .none{fill:var(--dim)}
.trend{display:inline-block;vertical-align:middle}
.cells th,.cells td{border-bottom:1px solid var(--line);padding:.4rem 1.2rem .4rem 0}
.cells td,.cells thead th:not(:first-child):not(:last-child){text-align:right;white-space:nowrap}
.cells .runs,.cells thead th:last-child{text-align:left}
.cells th small{display:block}
.legend{color:var(--dim);font-size:.85rem}.legend span{font-weight:600}.legend span+span{margin-left:.4rem}
.scroll{overflow-x:auto;width:fit-content;max-width:100%;border:1px solid var(--line);border-radius:6px}
.families th,.families td{border-bottom:1px solid var(--line);padding:.15rem .6rem;white-space:nowrap}
.families tr:last-child>*{border-bottom:0}
.families thead th{white-space:normal;min-width:5rem;max-width:12rem;padding-top:.5rem;border-bottom-color:var(--dim)}
.families tr>:first-child{position:sticky;left:0;background:var(--raised);border-right:1px solid var(--line);font-weight:400}
.families td a{display:inline-block;min-width:2rem;padding:.1rem .35rem;border-radius:4px;text-decoration:none}
.families td a:hover{text-decoration:underline}
a.good{color:var(--good)}a.none{color:var(--dim)}a.bad{color:var(--bad);background:var(--bad-back);font-weight:600}a.known{color:var(--known);background:var(--known-back)}
section{border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;margin:0 0 1rem}
section:target{border-color:var(--link)}
details{margin:.1rem 0}summary{cursor:pointer;padding:.15rem 0}
details.family>div{scroll-margin-top:3rem;border-left:2px solid var(--line);margin:.2rem 0 .6rem .3rem;padding-left:.8rem}
details.family>div:target{border-color:var(--link)}
ul{margin:.2rem 0 .5rem;padding-left:1.4rem}
pre{background:var(--raised);border-radius:4px;font:13px/1.4 ui-monospace,monospace;margin:.3rem 0;overflow-x:auto;padding:.5rem;tab-size:8}
.message pre{white-space:pre-wrap;overflow-wrap:anywhere}summary small{white-space:nowrap}.quiet>details{margin-left:1rem}
@media(max-width:700px){
.cells thead{position:absolute;clip-path:inset(50%)}
.cells,.cells tbody{display:block}.cells tr{display:flex;flex-wrap:wrap;gap:.1rem 1rem;border-bottom:1px solid var(--line);padding:.5rem 0}
.cells th,.cells td{border:0;padding:0;text-align:left}.cells th{flex:0 0 100%}
.cells td[data-title]::after{content:" " attr(data-title);color:var(--dim);font-size:.85rem}.cells td[data-title=time]::after{content:""}.cells .empty td[data-title]{display:none}
.families th,.families td{padding:.25rem .4rem}.families thead th{min-width:4.5rem;max-width:8.5rem;font-size:.8rem}
.families tbody th{white-space:normal;min-width:6.5rem;max-width:8rem;font-size:.85rem}
.families td a{padding:.3rem .35rem}section{padding:.6rem}details.family>div{scroll-margin-top:3rem;padding-left:.5rem}}
@media print{.scroll{overflow:visible}}`
