// Which page is shown: #/, #/jobs, #/jobs/ID, #/fleet; the login before all of them.

import { api } from "./api.js";
import { el, set, write } from "./dom.js";
import { fleetPage } from "./fleet.js";
import { jobPage } from "./job.js";
import { jobsPage } from "./jobs.js";
import { loginPage } from "./login.js";
import { speakPage } from "./speak.js";

const PAGES = [
  [/^#\/jobs\/(.+)$/, jobPage],
  [/^#\/jobs$/, jobsPage],
  [/^#\/fleet$/, fleetPage],
  [/^/, speakPage],
];
const main = document.getElementById("main");
const notice = document.getElementById("notice");
const nav = document.querySelector("nav");
const who = document.querySelector(".who");
let page = { close() {} };
let entered = false;

/** What goes wrong while a page is looked at; null: it is well again. */
function tell(error) {
  notice.hidden = error === null || error.status === 401;
  write(notice, error?.message ?? "");
}

function show(make, ...about) {
  page.close();
  tell(null);
  main.replaceChildren();
  page = make(main, ...about);
  document.title = `${page.title} · speechfleet`;
}

function route() {
  if (!entered) return;
  const hash = location.hash || "#/";
  const [pattern, make] = PAGES.find(([pattern]) => pattern.test(hash));
  const [, id] = pattern.exec(hash);
  show(make, id && decodeURIComponent(id), tell);
  for (const link of nav.children) {
    const here = link.hash === "#/" ? make === speakPage : hash.startsWith(link.hash);
    set(link, "aria-current", here ? "page" : false);
  }
}

async function enter() {
  let known;
  try {
    known = await api.who();
  } catch (error) {
    tell(error);
    main.replaceChildren(
      el("button", { type: "button", class: "primary", onclick: enter }, "Try again"),
    );
    return;
  }
  entered = known.namespace !== null;
  nav.hidden = !entered;
  who.hidden = !entered || !known.required;
  write(who.querySelector(".namespace"), known.namespace ?? "");
  if (entered) route();
  else show(loginPage, enter);
}

document.getElementById("logout").addEventListener("click", () => api.logout().then(enter, tell));
document.addEventListener("unauthorized", () => entered && enter());
window.addEventListener("hashchange", () => {
  route();
  main.focus({ preventScroll: true });
});
enter();
