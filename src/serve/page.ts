import type { CachedImage } from "../store/catalog.js";
import type { Store } from "../store/store.js";
import { type Answer, found } from "./answer.js";

/** Images on one page. */
const pageSize = 200;

const style = `
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1c1e21; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid #d8dadd }
code { font-size: .82em; overflow-wrap: anywhere }
td.size { text-align: right; white-space: nowrap }
p.digests { margin: .15rem 0; color: #5c636a }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #17191c } th, td { border-color: #3a3f44 } p.digests { color: #9aa1a8 } a { color: #8ab4f8 }
}`;

/** What is here, for a person with a browser: no script, nothing from elsewhere. */
export function answerPage(store: Store, query: URLSearchParams): Answer {
  const after = query.get("after");
  const all = store.list();
  const rest = after === null ? all : all.filter((image) => placeOf(image) > after);
  const images = rest.slice(0, pageSize);
  const last = rest.length > pageSize ? images.at(-1) : undefined;
  const next =
    last === undefined ? "" : `<p><a href="/?after=${encodeURIComponent(placeOf(last))}">more</a></p>`;
  const html = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>bpfcache</title><style>${style}</style></head>
<body>
<h1>bpfcache</h1>
<p>${all.length === 0 ? "Nothing is cached here yet." : `${all.length} ${all.length === 1 ? "image" : "images"}`}</p>
${images.length === 0 ? "" : tableOf(images)}
${next}
</body>
</html>
`;
  return found(Buffer.from(html), "text/html; charset=utf-8", {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-store",
  });
}

/** In the order of the list: by reference, then by platform. */
function placeOf({ reference, platform }: CachedImage): string {
  return `${reference} ${platform}`;
}

function tableOf(images: readonly CachedImage[]): string {
  return `<table>
<thead><tr><th>Image</th><th>Platform</th><th>Format</th><th>Programs</th><th>Size</th></tr></thead>
<tbody>
${images.map(row).join("\n")}
</tbody>
</table>`;
}

function row(image: CachedImage): string {
  const { reference, rootDigest, manifestDigest, platform, format, objects, size } = image;
  const digests = [
    ["root", rootDigest],
    ["manifest", manifestDigest],
    ...objects.map(({ name, digest }) => [`object ${name}`, digest]),
  ];
  const programs = objects.flatMap((object) => object.programs.map(({ name, type }) => `${name} (${type})`));
  return `<tr><td><strong>${escapeHtml(reference)}</strong>${digests.map(digestLine).join("")}</td>
<td>${escapeHtml(platform)}</td><td>${escapeHtml(format)}</td><td>${programs.map(escapeHtml).join("<br>")}</td>
<td class="size">${size.toLocaleString("en")} B</td></tr>`;
}

function digestLine([what = "", digest = ""]: readonly string[]): string {
  return `<p class="digests">${escapeHtml(what)} <code>${escapeHtml(digest)}</code></p>`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Names in images are written by strangers. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}
