"""The page's style: one column of text, tables that scroll in themselves, light or dark as the system is."""

CSS = """
:root { color-scheme: light dark; --text: #1f2328; --soft: #59636e; --page: #ffffff; --line: #d8dbe0;
  --tint: #f5f7f9;
  --accent: #0072b2; --good: #007a5a; --bad: #b3400a; }
@media (prefers-color-scheme: dark) { :root {
  --text: #e6e8eb; --soft: #9aa4af; --page: #16191d; --line: #3a3f47;
  --tint: #1e2227; --accent: #56b4e9; --good: #3fc79a; --bad: #ff9a4d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p.lead { color: var(--soft); margin: 0 0 1.5rem; }
p, li { max-width: 46rem; }
.summary { background: var(--tint); border-left: 4px solid var(--accent); border-radius: 4px;
  padding: 1rem 1.25rem; margin: 1.5rem 0; }
.summary ul { margin: 0; padding-left: 1.1rem; }
.summary li { margin: .3rem 0; }
figure { margin: 1rem 0 1.5rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .875rem; margin-top: .4rem; max-width: 46rem;
  white-space: pre-line; }
.scroll { overflow-x: auto; margin: .75rem 0 1.5rem; }
.tall { max-height: 34rem; overflow-y: auto; border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; font-size: .8125rem; font-variant-numeric: tabular-nums;
  min-width: 100%; }
th, td { text-align: left; padding: .35rem .65rem; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; background: var(--tint); position: sticky; top: 0; }
td.number, th.number { text-align: right; }
td.yes { color: var(--good); font-weight: 600; }
td.no { color: var(--bad); font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
.gallery img { border-radius: 6px; border: 1px solid var(--line); background: var(--tint); }
@media print { .tall { max-height: none; } main { max-width: none; padding: 0; } }
"""
