// A walk through the administration page in a real browser: what tests/browser.rs has set up, as a person does it.
// Prints a line for each thing that is not as it should be, and "toured" at the end.
//
// AT: the page; ONCE: the one-time password; LINK: a download page with a file of OCTETS zeros; MODULES: where npm put its packages; PICTURES: where screenshots go.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";

const { AT, ONCE, LINK, OCTETS, MODULES, PICTURES, CHROMIUM } = process.env;
const require = createRequire(`${MODULES}/node_modules/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;
mkdirSync(PICTURES, { recursive: true });

const PASSWORD = "correct horse battery";
const WIDTHS = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } };
let faults = 0;
const fault = (words) => { faults += 1; console.log(`fault: ${words}`); };
const check = (good, words) => { if (!good) fault(words); };

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const newContext = (more) => browser.newContext({ baseURL: AT, viewport: WIDTHS.wide, timezoneId: "Europe/Berlin", ...more });
const context = await newContext();
context.setDefaultTimeout(20_000);

// A page that fetches nothing from elsewhere and finds no fault with itself.
async function newPage(origin) {
  const page = await context.newPage();
  page.on("request", (request) => check(request.url().startsWith(origin) || request.url().startsWith("data:"), `${page.url()} fetches ${request.url()}`));
  page.on("console", (said) => { if (said.type() === "error" && !said.text().includes("status of 40")) fault(`${page.url()}: ${said.text()}`); });
  page.on("pageerror", (error) => fault(`${page.url()}: ${error}`));
  return page;
}
const page = await newPage(AT);

// Axe's rules on the page as it stands; it is run from outside the page's own policy.
async function judge(what, page) {
  const session = await context.newCDPSession(page);
  const run = `${axe}; axe.run({ resultTypes: ["violations"] }).then((found) => JSON.stringify(found.violations))`;
  const { result } = await session.send("Runtime.evaluate", { expression: run, awaitPromise: true, returnByValue: true });
  await session.detach();
  for (const { id, impact, nodes } of JSON.parse(result.value)) {
    const where = nodes.slice(0, 3).map((node) => `${node.html.slice(0, 120)} (${node.any.concat(node.all)[0]?.message ?? ""})`);
    const words = `${what}: axe ${id} (${impact}), ${nodes.length}: ${where.join(" | ")}`;
    if (impact === "serious" || impact === "critical") fault(words); else console.log(`note: ${words}`);
  }
  check(await page.locator("h1").count() === 1, `${what}: not one heading of the page`);
  check(!["", "Vouchsafe"].includes(await page.title()), `${what}: no title`);
}

// Both themes, both widths; nothing runs out of the window sideways.
async function picture(name, shown = page) {
  for (const scheme of ["light", "dark"]) {
    await shown.emulateMedia({ colorScheme: scheme });
    for (const [width, size] of Object.entries(WIDTHS)) {
      await shown.setViewportSize(size);
      const over = await shown.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(over <= 0, `${name}, ${width}: ${over} pixels too wide`);
      await shown.screenshot({ path: `${PICTURES}/${name}-${scheme}-${width}.png`, fullPage: true });
    }
    await judge(`${name}, ${scheme}`, shown);
  }
  await shown.emulateMedia({ colorScheme: "light" });
  await shown.setViewportSize(WIDTHS.wide);
}

const text = async () => (await page.locator("main").innerText()).replace(/\s+/g, " ");
async function holds(what, ...words) {
  const shown = await text();
  for (const word of words) check(shown.includes(word), `${what}: "${word}" is not shown in: ${shown.slice(0, 600)}`);
}

// First run: by keyboard alone.
await page.goto("/");
await picture("first-run");
await page.getByLabel("One-time password").focus();
await page.keyboard.type(ONCE);
await page.keyboard.press("Tab");
check((await page.evaluate(() => document.activeElement.name)) === "name", "first run: Tab does not lead on");
await page.keyboard.press("Tab");
await page.keyboard.type(PASSWORD);
await page.keyboard.press("Tab");
await page.keyboard.type(PASSWORD);
await page.keyboard.press("Enter");
await page.getByRole("navigation", { name: "Sections" }).waitFor();

// Out, a wrong password, in again.
await page.getByRole("button", { name: "Log out" }).click();
await page.getByLabel("Name").fill("admin");
await page.getByLabel("Password").fill("not this one");
await page.getByRole("button", { name: "Log in" }).click();
check((await page.getByRole("alert").innerText()).includes("wrong"), "login: a wrong password is not told");
await picture("login");
await page.getByLabel("Name").fill("admin");
await page.getByLabel("Password").fill(PASSWORD);
await page.getByRole("button", { name: "Log in" }).click();

// Every section that the navigation names.
const sections = page.getByRole("navigation", { name: "Sections" }).getByRole("link");
await sections.first().waitFor();
const links = await sections.evaluateAll((all) => all.map((link) => [link.textContent.trim(), link.getAttribute("href")]));
check(links.length >= 6, `only ${links.length} sections`);
for (const [title, path] of links) {
  const answer = await page.goto(path);
  check(answer.status() === 200, `${title}: ${answer.status()}`);
  check(await page.locator("nav [aria-current=page]").count() >= 1, `${title}: not marked in the navigation`);
  await picture(title.toLowerCase().replaceAll(" ", "-"));
}

// What has no place of its own in the navigation.
const inner = { destinations: "/queue/destinations", trial: "/trial", audit: "/audit", versions: "/settings/history", "setup-server": "/setup", "setup-mail": "/setup/mail", "setup-clients": "/setup/clients", "setup-test": "/setup/test", month: "/?span=month", verdicts: "/delegates?text=" };
for (const [name, path] of Object.entries(inner)) {
  const answer = await page.goto(path);
  check(answer.status() === 200, `${name}: ${answer.status()}`);
  await picture(name);
}

// The delegate is asked, and what was said stands there.
await page.goto("/delegates");
await page.getByLabel("Address", { exact: true }).fill("nobody@example.com");
await page.getByRole("button", { name: "Ask the delegate" }).click();
await holds("a test", "Tested at", "550 5.1.1", "RCPT TO:<nobody@example.com>");
await picture("tested");

// Another administrator: made, given another role, removed.
await page.goto("/admins");
await page.getByLabel("Name", { exact: true }).fill("carol");
await page.getByLabel("Password; empty").fill(PASSWORD);
await page.getByRole("button", { name: "Add", exact: true }).click();
const carol = page.getByRole("row", { name: /^carol/ });
await carol.getByText("Change").click();
await carol.getByLabel("Role").selectOption("operator");
await picture("admin-changed");
await carol.getByRole("button", { name: "Set the role" }).click();
check((await carol.innerText()).includes("operator"), "administrators: the role did not change");
await carol.getByText("Change").click();
await carol.getByRole("button", { name: "Remove carol" }).click();
check(await carol.count() === 0, "administrators: carol is still there");

// A message that waits is given up, and its sender, a stranger, is told nothing.
await page.goto("/queue");
await page.getByText("All of the queue at once").click();
await page.getByLabel("What to do").selectOption("delete");
await page.getByRole("button", { name: "See what that would do" }).click();
await holds("the whole queue", "Delete without a notice to anyone: 1 delivery", "cannot be had back");
await picture("queue-many");
await page.goto("/queue");
await page.getByRole("link", { name: /^[0-9a-f-]{32,36}$/ }).first().click();
await page.waitForURL(/messages/);
await page.getByText("Bounce", { exact: true }).click();
await picture("waiting");
await page.getByRole("button", { name: "Bounce this message" }).click();
await holds("a bounce", "It has left the queue", "given up by the administrator");

// Keyboard: the first Tab offers the way past the navigation, and it leads there.
await page.goto("/");
await page.keyboard.press("Tab");
check((await page.evaluate(() => document.activeElement.textContent)) === "To the content", "keyboard: no way past the navigation");
await page.keyboard.press("Enter");
check(new URL(page.url()).hash === "#main", "keyboard: the way past the navigation leads nowhere");
await page.goto("/");
for (let step = 0; step < 4; step += 1) await page.keyboard.press("Tab");
check((await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)) !== "none", "keyboard: where the focus is cannot be seen");
await page.keyboard.press("Enter");
await page.waitForURL(/messages|queue|live/);

// Why was this mail refused?
await page.goto("/messages");
await page.getByLabel("Address, message or session").fill("nobody@example.com");
await page.keyboard.press("Enter");
await page.waitForURL(/nobody/);
await holds("a refusal", "refused", "nobody@example.com", "sender@example.net", "550 5.1.1", "User unknown");
await picture("refusal");

// What became of this mail?
await page.goto("/messages?text=bob%40example.com");
await page.getByRole("link", { name: "delivered" }).first().click();
await page.waitForURL(/messages\/[0-9a-f-]{32,36}/);
await holds("a message", "accepted", "delivered", "sender@example.net", "bob@example.com");
await picture("message");

// Its file behind a link: found by name, extended; what many would lose is told first.
await page.goto("/attachments");
await page.getByLabel("Address, file name or message").fill("zeros");
await page.keyboard.press("Enter");
await page.getByRole("link", { name: "zeros.bin" }).first().click();
await holds("attachments", "zeros.bin", "bob@example.com", "open", "store");
await page.getByRole("button", { name: "Give more time" }).click();
await holds("attachments", "extend");
await picture("attachment");
await page.getByRole("link", { name: /^[0-9a-f-]{32,36}$/ }).first().click();
await page.waitForURL(/messages/);
await page.getByRole("link", { name: "zeros.bin" }).waitFor();
await page.goto("/attachments");
await page.getByText("All files of a sender or recipient at once").click();
await page.getByLabel("Sender").fill("sender@example.net");
await page.getByLabel("What to do").selectOption("delete for good");
await page.getByRole("button", { name: "See what that would do" }).click();
await holds("many attachments", "Delete files and links for good: 1 message", "cannot be had back");
await picture("attachments-many");

// A setting: what would change is shown before it changes.
await page.goto("/settings?section=queue");
const expire = page.locator("[name='queue.expire']");
await expire.fill("3d");
await expire.press("Enter");
await holds("a draft", "queue.expire", "3d");
await picture("draft");
await expire.press("Escape").catch(() => {});

// A token is shown once.
await page.goto("/admins");
await page.getByLabel("What uses it").fill("grafana");
await page.getByRole("button", { name: "Make a token" }).click();
await holds("a token", "shown only now: vouchsafe_");
const shown = (await page.getByRole("status").innerText()).match(/vouchsafe_[0-9a-f]+/)[0];
const status = await (await fetch(`${AT}/api/v1/status`, { headers: { authorization: `Bearer ${shown}` } })).json();
check(status.response === "status", `the token does not open the API: ${JSON.stringify(status)}`);
await page.goto("/admins");
check(!(await text()).includes(shown), "the token is shown again");

// A file comes by its button, as it was sent.
const files = await newPage(new URL(LINK).origin);
await files.goto(LINK);
await picture("download", files);
const [download] = await Promise.all([
  files.waitForEvent("download"),
  files.getByRole("button", { name: "Download: zeros.bin" }).click(),
]);
check(download.suggestedFilename() === "zeros.bin", `the file is called ${download.suggestedFilename()}`);
const got = readFileSync(await download.path());
check(got.length === Number(OCTETS) && got.every((octet) => octet === 0), `the file has ${got.length} octets`);

// Without JavaScript all is there to be read.
const plain = await newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
const bare = await plain.newPage();
for (const [title, path] of links) {
  const answer = await bare.goto(path);
  check(answer.status() === 200 && (await bare.locator("main").innerText()).length > 40, `${title}: nothing to read without JavaScript`);
}

await browser.close();
console.log(faults === 0 ? "toured" : `${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
