// Chooses the page by the address: #/, #/speak, #/jobs, #/jobs/ID, ...; first comes the login.

import { api } from "./api.js";
import { batchPage, batchesPage } from "./batches.js";
import { el, set, write } from "./dom.js";
import { fleetPage } from "./fleet.js";
import { jobPage } from "./job.js";
import { jobsPage } from "./jobs.js";
import { loginPage } from "./login.js";
import { nowPage } from "./now.js";
import { searchBy } from "./search.js";
import { sessionsPage } from "./sessions.js";
import { speakPage } from "./speak.js";
import { tenantPage } from "./tenant.js";
import { usagePage } from "./usage.js";

const PAGES = [
  [/^#\/jobs\/([^?]+)$/, jobPage],
  [/^#\/jobs$/, jobsPage],
  [/^#\/batches\/([^?]+)$/, batchPage],
  [/^#\/batches$/, batchesPage],
  [/^#\/sessions$/, sessionsPage],
  [/^#\/fleet$/, fleetPage],
  [/^#\/usage$/, usagePage],
  [/^#\/tenant$/, tenantPage],
  [/^#\/speak$/, speakPage],
  [/^#\/?$/, nowPage],
  [/^/, missingPage],
];
const main = document.getElementById("main");
const notice = document.getElementById("notice");
const nav = document.querySelector("nav");
const search = document.getElementById("search");
const who = document.querySelector(".who");
let page = { close() {} };
let entered = false;

/** Show an error of the page; null: hide it, the last request succeeded. */
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

function missingPage(place) {
  place.append(
    el("h1", {}, "There is no such page"),
    el("p", {}, el("a", { href: "#/speak" }, "Speak a text"), " or look at ", el("a", { href: "#/jobs" }, "all jobs"), "."),
  );
  return { title: "Not found", close() {} };
}

/** Decode an id in the address; return it unchanged where it was not encoded. */
function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

function route() {
  if (!entered) return;
  const [hash, query = ""] = (location.hash || "#/").split("?");
  const [pattern, make] = PAGES.find(([pattern]) => pattern.test(hash));
  const [, id] = pattern.exec(hash);
  show(make, { id: id && decoded(id), query: new URLSearchParams(query), notice: tell });
  for (const link of nav.children) {
    const here = link.hash === "#/" ? make === nowPage : hash.startsWith(link.hash);
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
  search.hidden = !entered;
  who.hidden = !entered || !known.required;
  write(who.querySelector(".namespace"), known.namespace ?? "");
  if (entered) route();
  else show(loginPage, enter);
}

document.getElementById("logout").addEventListener("click", () => api.logout().then(enter, tell));
searchBy(search);
document.addEventListener("unauthorized", () => entered && enter());
window.addEventListener("hashchange", () => {
  route();
  main.focus({ preventScroll: true });
});
enter();
