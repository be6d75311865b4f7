import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { json, lastLine, User } from "../cli/command.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, pushWithSkopeo, writeAuthFile } from "./images.js";
import { Zot } from "./zot.js";

const login = { username: "me", password: "secret" };
const image = imageNamed("pass");

/** The registries that ask for a password by HTTP Basic, and what it takes to run them. */
const registries = [
  {
    name: "Debian's docker-registry",
    program: "docker-registry",
    start: () => DockerRegistry.start({ basic: login }),
  },
  { name: "zot", program: "zot", start: () => Zot.start(login) },
];

describe.each(registries)("$name with htpasswd", ({ program, start }) => {
  const missing = requireTools(program, "htpasswd", "skopeo");

  describe.skipIf(missing)(`holding an image that skopeo pushed${missing ?? ""}`, () => {
    let registry: DockerRegistry | Zot;
    let reference: string;
    beforeAll(async () => {
      registry = await start();
      reference = registry.reference("org/pass:v1");
      await pushWithSkopeo({ [reference]: image }, { login });
    });
    afterAll(() => registry?.[Symbol.asyncDispose]());

    it("gives it to who shows the password", async () => {
      using user = new User();
      const authFile = writeAuthFile(user.path("auth.json"), registry.host, login);
      const { stdout } = await user.bpfcache(["pull", reference, "--authfile", authFile, "--json"]);
      // Refused once, then the manifest, the config and the layer.
      expect(json(stdout)).toMatchObject({ from: "registry", rootDigest: image.root.digest, requests: 4 });
    });

    it("refuses a wrong password, and the password is not shown to the user either", async () => {
      using user = new User();
      const wrong = { ...login, password: "Sesame0pen" };
      const authFile = writeAuthFile(user.path("auth.json"), registry.host, wrong);
      const args = ["pull", reference, "--authfile", authFile, "--json", "--verbose"];
      const { status, stderr, stdout } = await user.bpfcache(args);
      expect(status).toBe(5);
      expect(lastLine(stderr).error).toMatchObject({ code: "UNAUTHORIZED" });
      expect(stderr + stdout).not.toContain("Sesame0pen");
      expect(stderr + stdout).not.toContain(Buffer.from("me:Sesame0pen").toString("base64"));
    });

    it("refuses who shows none", async () => {
      using user = new User();
      const { status, stderr } = await user.bpfcache(["pull", reference, "--json"]);
      expect(status).toBe(5);
      expect(lastLine(stderr).error).toMatchObject({
        code: "UNAUTHORIZED",
        hint: expect.stringContaining("docker login"),
      });
    });
  });
});
