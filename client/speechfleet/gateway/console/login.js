// The login form of a gateway with API keys.

import { api } from "./api.js";
import { el, write } from "./dom.js";

export function loginPage(place, entered) {
  const failure = el("p", { class: "failure", role: "alert", hidden: true });
  const key = el("input", {
    id: "key", type: "password", required: true, autocomplete: "current-password",
    spellcheck: "false",
  });
  const enter = async (event) => {
    event.preventDefault();
    try {
      await api.login(key.value.trim());
      await entered();
    } catch (error) {
      write(failure, error.message);
      failure.hidden = false;
      key.select();
    }
  };
  place.append(
    el(
      "form", { class: "login", onsubmit: enter },
      el("h1", {}, "Log in"),
      el("label", { for: "key" }, "API key"), key,
      el("button", { type: "submit", class: "primary" }, "Log in"),
      failure,
      el("p", { class: "hint" }, "It opens one namespace. The login ends after 12 hours, or when you log out."),
    ),
  );
  key.focus();
  return { title: "Log in", close: () => {} };
}
