import type { OptionSpec, VerbSpec } from "./verb.js";

const choose: readonly OptionSpec[] = [
  { name: "object", value: "NAME", summary: "the object, by its name in the image or its digest" },
  { name: "program", value: "NAME", summary: "the object with this program" },
];

const one = { min: 1, max: 1, areReferences: true };
const many = { min: 1, max: Number.POSITIVE_INFINITY, areReferences: true };

const strict: OptionSpec = {
  name: "strict",
  summary: "refuse an image whose labels contradict its objects",
};

const referrers: OptionSpec = {
  name: "referrers",
  summary: "also keep signatures and attestations",
};

const explain: OptionSpec = {
  name: "explain",
  summary: "say why it was a hit or a miss, who was asked, what was reused and verified",
};

/** Every verb, in the order help lists them. */
export const verbs: readonly VerbSpec[] = [
  {
    name: "prefetch",
    usage: "[REF…] [-f FILE]…",
    summary: "pull many images in parallel",
    options: [
      {
        name: "file",
        short: "f",
        value: "FILE",
        multiple: true,
        summary: "a reference per line, or Kubernetes YAML with bpfman's resources; - is standard input",
      },
      { name: "lock", value: "FILE", summary: "write each reference with its root digest there" },
      { name: "locked", summary: "take just what the lock says, whatever the tags mean today" },
      {
        name: "follow",
        value: "INTERVAL",
        summary: "keep the list fresh: ask again after each interval, such as 15m, until SIGTERM",
      },
      strict,
      referrers,
      explain,
    ],
    examples: [
      "prefetch quay.io/org/xdp:v1 quay.io/org/tc:v2",
      "prefetch -f images.txt --jobs 16",
      "prefetch -f bpfapplication.yaml",
      "prefetch -f images.txt --follow 15m",
    ],
    words: { ...many, min: 0 },
    takesAllPlatforms: true,
    load: () => import("./prefetch.js"),
  },
  {
    name: "pull",
    knownElsewhereAs: ["fetch", "get", "download"],
    usage: "REF",
    summary: "pull one image",
    options: [strict, referrers, explain],
    examples: [
      "pull quay.io/org/xdp:v1",
      "pull --pull-policy Always quay.io/org/xdp:latest",
      "pull --explain quay.io/org/xdp:v1",
    ],
    words: one,
    load: () => import("./pull.js"),
  },
  {
    name: "seed",
    knownElsewhereAs: ["import", "restore"],
    usage: "PATH…",
    summary: "take in images from layouts, archives and object files; - is standard input",
    options: [
      { name: "as", value: "REF", summary: "the repository of bare tags, or the name of what has none" },
      { name: "overwrite", summary: "let cached references move to what the files name" },
      strict,
    ],
    examples: [
      "seed ./layout images.tar.gz",
      "seed ./layout --as quay.io/org/xdp",
      "seed xdp.o --as quay.io/org/xdp:v1",
      "seed - < images.tar",
    ],
    words: { ...many, areReferences: false },
    takesAllPlatforms: true,
    load: () => import("./seed.js"),
  },
  {
    name: "export",
    knownElsewhereAs: ["save", "copy", "cp", "backup"],
    usage: "[REF…] -o PATH",
    summary: "write cached images out, for another host or tool",
    options: [
      {
        name: "output",
        short: "o",
        value: "PATH",
        summary: "where to: a directory, a file that ends in .tar, or - for a tar on standard output",
      },
      { name: "all", summary: "everything that is cached" },
      {
        name: "format",
        value: "FORMAT",
        summary: "oci-dir, oci-archive, docker-archive, or files: a .o and a .json for each object",
      },
      { name: "since", value: "LOCK", summary: "leave out what the export with this lock has" },
      { name: "lock", value: "FILE", summary: "where to write the lock (default PATH.lock.json)" },
      { name: "overwrite", summary: "replace what is there" },
    ],
    examples: [
      "export quay.io/org/xdp:v1 -o xdp.tar",
      "export --all --platform linux/amd64,linux/arm64 -o site.tar",
      "export --all --since site.tar.lock.json -o update.tar",
      "export quay.io/org/xdp:v1 --format files -o objects",
    ],
    words: { ...many, min: 0 },
    takesAllPlatforms: true,
    takesSeveralPlatforms: true,
    load: () => import("./export.js"),
  },
  {
    name: "push",
    usage: "REF [[OS/ARCH=]OBJECT…]",
    summary: "publish an image through oras: made of object files, or what is cached",
    options: [{ name: "to", value: "REF", summary: "publish what is cached under this reference instead" }],
    examples: [
      "push quay.io/org/xdp:v1 xdp.o",
      "push quay.io/org/xdp:v1 linux/amd64=xdp.bpfel.o linux/s390x=xdp.bpfeb.o",
      "push quay.io/org/xdp:v1 --to registry.site/org/xdp:v1",
    ],
    words: { min: 1, max: Number.POSITIVE_INFINITY },
    load: () => import("./push.js"),
  },
  {
    name: "list",
    knownElsewhereAs: ["images", "status"],
    aliases: ["ls"],
    usage: "",
    summary: "show what is cached, or the part of it that matches",
    options: [
      { name: "program", value: "NAME", summary: "images with this program" },
      { name: "map", value: "NAME", summary: "images with this map" },
      { name: "type", value: "TYPE", summary: "images with a program of this type, such as xdp" },
      { name: "format", value: "FORMAT", summary: "images in this format, such as bpfman or gadget" },
    ],
    examples: ["list", "list --type xdp --platform linux/arm64", "list --map packets --json"],
    words: { min: 0, max: 0 },
    load: () => import("./list.js"),
  },
  {
    name: "inspect",
    knownElsewhereAs: ["show", "describe", "info"],
    usage: "REF",
    summary: "show all that is known of an image",
    options: [],
    examples: ["inspect quay.io/org/xdp:v1"],
    words: one,
    load: () => import("./inspect.js"),
  },
  {
    name: "cat",
    usage: "REF [-o FILE]",
    summary: "write an eBPF object to standard output or a file",
    options: [
      { name: "output", short: "o", value: "FILE", summary: "write here instead" },
      ...choose,
      {
        name: "global",
        value: "NAME=VALUE",
        multiple: true,
        summary: "set a variable in the copy: 7, -1, 0x1f, true, text, 80,443 or hex:00ff",
      },
      explain,
    ],
    examples: [
      "cat quay.io/org/xdp:v1 -o xdp.o",
      "cat quay.io/org/app:v1 --program xdp_pass > xdp.o",
      "cat quay.io/org/app:v1 --global limit=100 --global interface=eth0 -o app.o",
    ],
    words: one,
    load: () => import("./cat.js"),
  },
  {
    name: "remove",
    knownElsewhereAs: ["delete", "del", "rmi"],
    aliases: ["rm"],
    usage: "REF…",
    summary: "remove images, with what nothing else needs",
    options: [],
    examples: ["remove quay.io/org/xdp:v1"],
    words: many,
    load: () => import("./remove.js"),
  },
  {
    name: "pin",
    usage: "REF…",
    summary: "keep images, whatever prune is asked",
    options: [
      { name: "owner", value: "NAME", summary: "who needs them" },
      { name: "reason", value: "TEXT", summary: "why" },
    ],
    examples: ["pin quay.io/org/xdp:v1 --owner node-agent"],
    words: many,
    load: () => import("./pin.js"),
  },
  {
    name: "unpin",
    usage: "REF…",
    summary: "let pinned images go",
    options: [],
    examples: ["unpin quay.io/org/xdp:v1"],
    words: many,
    load: () => import("./unpin.js"),
  },
  {
    name: "prune",
    knownElsewhereAs: ["gc", "clean"],
    usage: "",
    summary: "remove what is not used, and say what that frees",
    options: [
      { name: "older-than", value: "AGE", summary: "images not used for so long, such as 30d" },
      { name: "keep-last", value: "N", summary: "all but the N references of each repository pulled last" },
      { name: "drop-layers", summary: "layers, of which loaders need only what was extracted" },
      { name: "unreferenced", summary: "content that no reference needs, left by damage" },
      { name: "dry-run", summary: "remove nothing, and say what would be" },
    ],
    examples: ["prune --max-size 500M", "prune --older-than 30d --keep-last 3 --dry-run"],
    words: { min: 0, max: 0 },
    load: () => import("./prune.js"),
  },
  {
    name: "usage",
    knownElsewhereAs: ["du", "stat"],
    aliases: ["df"],
    usage: "",
    summary: "show what takes the space",
    options: [
      {
        name: "format",
        value: "FORMAT",
        summary:
          "text (default), or prometheus: what the cache has done and holds, for its textfile collector",
      },
    ],
    examples: ["usage", "usage --max-size 500M --json", "usage --format prometheus"],
    words: { min: 0, max: 0 },
    load: () => import("./usage.js"),
  },
  {
    name: "compact",
    usage: "",
    summary: "give freed space back to the file system",
    options: [],
    examples: ["compact", "compact --json"],
    words: { min: 0, max: 0 },
    load: () => import("./compact.js"),
  },
  {
    name: "scrub",
    knownElsewhereAs: ["fsck", "check", "doctor"],
    usage: "[--repair]",
    summary: "re-hash and check all that is cached",
    options: [{ name: "repair", summary: "put right what is damaged, from the registry if it must be" }],
    examples: ["scrub", "scrub --repair", "scrub --repair --offline --json"],
    words: { min: 0, max: 0 },
    load: () => import("./scrub.js"),
  },
  {
    name: "verify",
    usage: "REF [--explain]",
    summary: "say whether the trust policy accepts an image, and why",
    options: [{ name: "explain", summary: "tell of every signature why it counts or not" }],
    examples: [
      "verify quay.io/org/xdp:v1 --policy policy.toml",
      "verify quay.io/org/xdp:v1 --explain --offline",
    ],
    words: one,
    load: () => import("./verify.js"),
  },
  {
    name: "serve",
    usage: "",
    summary: "be a read-only OCI registry over the cache",
    options: [
      { name: "listen", value: "HOST:PORT", summary: "where to listen (default 127.0.0.1:5000)" },
      { name: "tls-cert", value: "FILE", summary: "speak https with this certificate chain (PEM)" },
      { name: "tls-key", value: "FILE", summary: "the certificate's key (PEM)" },
      { name: "htpasswd", value: "FILE", summary: "answer only these users (htpasswd -B)" },
    ],
    examples: [
      "serve",
      "serve --listen 0.0.0.0:5000 --tls-cert site.pem --tls-key site.key --htpasswd users",
    ],
    words: { min: 0, max: 0 },
    load: () => import("./serve.js"),
  },
  {
    name: "program load",
    usage: "REF",
    summary: "load programs into the kernel and pin them",
    options: [
      {
        name: "program",
        value: "NAME",
        multiple: true,
        summary: "this function; all of the object by default",
      },
      { name: "object", value: "NAME", summary: "the object, by its name in the image or its digest" },
      { name: "file", value: "FILE", summary: "load this object file instead of an image" },
      { name: "global", value: "NAME=VALUE", multiple: true, summary: "set a variable, as cat does" },
      { name: "metadata", value: "KEY=VALUE", multiple: true, summary: "keep this with the programs" },
      { name: "map-owner", value: "ID", summary: "use the maps of this loaded program" },
      { name: "pin", value: "DIR", summary: "pin into this new directory of bpffs" },
      { name: "via", value: "PROGRAM", summary: "what loads: bpftool (default) or libbpf" },
    ],
    examples: [
      "program load quay.io/org/xdp:v1 --program xdp_pass",
      "program load quay.io/org/app:v1 --global limit=100 --metadata owner=node-agent",
      "program load quay.io/org/reader:v1 --map-owner 42 --via libbpf",
    ],
    words: { ...one, min: 0 },
    load: () => import("./program-load.js"),
  },
  {
    name: "program list",
    aliases: ["program ls"],
    usage: "",
    summary: "show what is loaded, through this cache and otherwise",
    options: [],
    examples: ["program list", "program list --json"],
    words: { min: 0, max: 0 },
    load: () => import("./program-list.js"),
  },
  {
    name: "program get",
    usage: "ID",
    summary: "show all that is known of a loaded program",
    options: [],
    examples: ["program get 42"],
    words: { min: 1, max: 1 },
    load: () => import("./program-get.js"),
  },
  {
    name: "program unload",
    usage: "ID",
    summary: "unpin a program, and forget it",
    options: [],
    examples: ["program unload 42"],
    words: { min: 1, max: 1 },
    load: () => import("./program-unload.js"),
  },
  {
    name: "config",
    usage: "show",
    summary: "show each setting, and where its value comes from",
    options: [],
    examples: ["config show", "config show --config site.toml --json"],
    words: { min: 1, max: 1, choices: ["show"] },
    load: () => import("./config/run.js"),
  },
  {
    name: "completion",
    usage: "bash|zsh|fish",
    summary: "print what makes a shell complete verbs, options and cached references",
    description:
      "Put it where your shell looks for completions, or source it: . <(bpfcache completion bash). References are read from the cache each time.",
    options: [],
    examples: [
      "completion bash > /etc/bash_completion.d/bpfcache",
      "completion zsh > ~/.zsh/completions/_bpfcache",
      "completion fish > ~/.config/fish/completions/bpfcache.fish",
    ],
    words: { min: 1, max: 1, choices: ["bash", "zsh", "fish"] },
    load: () => import("./completion/run.js"),
  },
  {
    name: "help",
    usage: "[VERB | TOPIC]",
    summary: "show help on a verb or a topic",
    options: [],
    examples: ["help prefetch", "help exit-codes", "help config", "help json-schema list"],
    words: { min: 0, max: 2 },
    load: () => import("./help/run.js"),
  },
];

/** Whether verbs of two words begin with this one. */
export function isFirstWord(word: string): boolean {
  return verbs.some(({ name }) => name.startsWith(`${word} `));
}

export function findVerbSpec(name: string): VerbSpec | undefined {
  return verbs.find((verb) => verb.name === name || verb.aliases?.includes(name));
}
