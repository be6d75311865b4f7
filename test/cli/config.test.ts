import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { json, User } from "./command.js";

interface Shown {
  readonly name: string;
  readonly value: unknown;
  readonly origin: { readonly from: string; readonly line?: number };
}

describe("the configuration", () => {
  let user: User;

  beforeEach(() => {
    user = new User();
  });

  afterEach(() => user[Symbol.dispose]());

  function write(name: string, text: string): string {
    const path = user.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  const userFile = ".config/bpfcache/config.toml";

  async function settings(as: User = user, args: readonly string[] = []): Promise<Map<string, Shown>> {
    const { status, stdout, stderr } = await as.bpfcache(["config", "show", "--json", ...args]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return new Map((json(stdout).settings as Shown[]).map((setting) => [setting.name, setting]));
  }

  it("says of each value where it came from, the later having the last word", async () => {
    const path = write(userFile, '# ours\njobs = 3\nmax-age = "1h"\nvia = "oras"\nprogress = "plain"\n');
    const named = write("site.toml", 'max-age = "2h"\nvia = "http"\nverbose = true\n');
    using other = new User({ HOME: user.path("."), BPFCACHE_VIA: "oras", BPFCACHE_PROGRESS: "json" });
    const shown = await settings(other, ["--config", named, "--progress", "quiet"]);
    expect(shown.get("jobs")).toMatchObject({ value: "3", origin: { from: "file", path, line: 2 } });
    expect(shown.get("max-age")).toMatchObject({ value: "2h", origin: { path: named, line: 1 } });
    expect(shown.get("verbose")).toMatchObject({ value: true, origin: { path: named, line: 3 } });
    expect(shown.get("via")).toMatchObject({
      value: "oras",
      origin: { from: "environment", variable: "BPFCACHE_VIA" },
    });
    expect(shown.get("progress")).toMatchObject({ value: "quiet", origin: { from: "option" } });
    expect(shown.get("pull-policy")).toMatchObject({ value: "IfNotPresent", origin: { from: "default" } });
  });

  it("is what verbs go by", async () => {
    write(userFile, 'pull-policy = "Never"\n');
    const { status, stderr } = await user.bpfcache(["pull", "127.0.0.1:1/org/x:v1"]);
    expect(stderr).toContain("[NOT_CACHED]");
    expect(status).toBe(4);
    expect(
      (
        await user.bpfcache([
          "pull",
          "127.0.0.1:1/org/x:v1",
          "--pull-policy",
          "Always",
          "--progress",
          "quiet",
        ])
      ).status,
    ).toBe(6);
  });

  it("has limits, which verbs go by", async () => {
    write(userFile, "[limits]\nretries = 0\n");
    const { stderr } = await user.bpfcache(["pull", "127.0.0.1:1/org/x:v1", "--progress", "json"]);
    expect(stderr).toContain("[UNREACHABLE]");
    expect(stderr).not.toContain('"retry"');
  });

  it("is found where XDG_CONFIG_HOME and BPFCACHE_CONFIG say", async () => {
    write("xdg/bpfcache/config.toml", "jobs = 5\n");
    const named = write("named.toml", "verbose = true\n");
    using other = new User({ XDG_CONFIG_HOME: user.path("xdg"), BPFCACHE_CONFIG: named });
    const shown = await settings(other);
    expect(shown.get("jobs")).toMatchObject({
      value: "5",
      origin: { path: user.path("xdg/bpfcache/config.toml") },
    });
    expect(shown.get("verbose")).toMatchObject({ value: true });
  });

  it("takes flags back with --no-", async () => {
    using offline = new User({ BPFCACHE_OFFLINE: "1" });
    const pull = ["pull", "127.0.0.1:1/org/x:v1", "--progress", "quiet"];
    expect((await offline.bpfcache(pull)).status).toBe(4);
    expect((await offline.bpfcache([...pull, "--no-offline"])).status).toBe(6);
  });

  it("has several values as a list, and with commas in a variable", async () => {
    write(userFile, 'plain-http = ["a.example", "b.example:5000"]\n');
    expect((await settings()).get("plain-http")?.value).toEqual(["a.example", "b.example:5000"]);
    using other = new User({ BPFCACHE_PLAIN_HTTP: "c.example,d.example" });
    expect((await settings(other)).get("plain-http")?.value).toEqual(["c.example", "d.example"]);
  });

  it("shows limits only when they are set", async () => {
    expect((await user.bpfcache(["config", "show"])).stdout).not.toContain("limits.");
    const path = write(userFile, 'jobs = 2\n\n[limits]\nlayer-bytes = "8M"\n');
    const { stdout } = await user.bpfcache(["config", "show"]);
    expect(stdout).toMatch(new RegExp(`^limits\\.layer-bytes +8M +${path}, line 4$`, "m"));
  });

  it.each([
    [
      "a key that is misspelt",
      "jobs = 2\n\nmax_szie = 3\n",
      'line 3: there is no setting "max_szie"',
      "Did you mean max-size?",
    ],
    [
      "a key that is none",
      "# x\ncolour = 3\n",
      'line 2: there is no setting "colour"',
      "bpfcache help config lists them.",
    ],
    [
      "a key after a value of several lines",
      'plain-http = [\n  "a",\n]\nof-line = true\n',
      'line 4: there is no setting "of-line"',
      "Did you mean offline?",
    ],
    [
      "a limit that is none",
      "[limits]\nretrys = 3\n",
      'line 2: there is no setting "limits.retrys"',
      "Did you mean limits.retries?",
    ],
    ["what is only for one call", "json = true\n", 'line 1: there is no setting "json"', undefined],
    [
      "a number of jobs that is none",
      'jobs = "many"\n',
      'line 1: --jobs takes a whole number from 1 to 256, not "many"',
      undefined,
    ],
    [
      "a flag that is neither",
      'verbose = true\noffline = "perhaps"\n',
      "line 2: offline takes true or false",
      undefined,
    ],
    [
      "several platforms",
      'platform = "all"\n',
      "line 1: the platform of all verbs is one, and only an option names more",
      undefined,
    ],
    ["what is no TOML", "jobs = 2\njobs =\n", "line 2: ", undefined],
  ])("refuses %s, and says where it stands", async (_, text, message, hint) => {
    const path = write(userFile, text);
    const { status, stdout, stderr } = await user.bpfcache(["list"]);
    expect(stderr).toContain(`bpfcache: ${path}, ${message}`);
    if (hint !== undefined) expect(stderr).toContain(`  ${hint}\n`);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  it("names the variable that makes no sense", async () => {
    using other = new User({ BPFCACHE_JOBS: "none" });
    expect((await other.bpfcache(["list"])).stderr).toContain("bpfcache: BPFCACHE_JOBS: --jobs takes");
    using another = new User({ BPFCACHE_OFFLINE: "perhaps" });
    expect((await another.bpfcache(["list"])).stderr).toContain("BPFCACHE_OFFLINE takes true or false");
  });

  it("must be there when it is named", async () => {
    const { status, stderr } = await user.bpfcache(["list", "--config", "/nonexistent/site.toml"]);
    expect(stderr).toContain("there is no configuration file /nonexistent/site.toml");
    expect(status).toBe(2);
  });

  it("does not stand in the way of help", async () => {
    write(userFile, "nonsense");
    expect((await user.bpfcache(["list", "--help"])).status).toBe(0);
  });
});
