// The two dialogs: settings of a conversation, and a question for one line (a new name, the API key).

import { byId, setText } from "./dom.js";
import { NUMBERS, cleanSettings } from "./store.js";

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
}

// Opens the form; resolves to the settings kept, or null.
export function editSettings(settings) {
  const dialog = byId("settings");
  const form = dialog.querySelector("form");
  const error = form.querySelector(".error");
  setText(error, "");
  for (const name of [...NUMBERS, "system", "reasoning"]) form.elements[name].value = settings[name] ?? "";
  return new Promise((resolve) => {
    let kept = null;
    form.onsubmit = (event) => {
      event.preventDefault();
      const wrong = [...form.elements].find((input) => !input.checkValidity());
      if (wrong) {
        setText(error, `${wrong.closest("label").firstChild.textContent}: ${wrong.validationMessage}`);
        wrong.focus();
        return;
      }
      kept = readSettings(form.elements);
      dialog.close();
    };
    dialog.onclose = () => resolve(kept);
    dialog.showModal();
  });
}

function readSettings(elements) {
  const values = { system: elements.system.value, reasoning: elements.reasoning.value };
  for (const name of NUMBERS) if (elements[name].value !== "") values[name] = elements[name].valueAsNumber;
  return cleanSettings(values);
}

// Asks for one line; resolves to it, or null.
export function ask({ title, label, value = "", note = "", ok, secret = false }) {
  const dialog = byId("ask");
  const input = byId("ask-input");
  setText(byId("ask-title"), title);
  setText(byId("ask-label"), label);
  setText(byId("ask-note"), note);
  setText(byId("ask-ok"), ok);
  input.type = secret ? "password" : "text";
  input.value = value;
  return new Promise((resolve) => {
    let given = null;
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      given = input.value.trim() || null;
      dialog.close();
    };
    dialog.onclose = () => {
      input.value = "";
      resolve(given);
    };
    dialog.showModal();
    input.select();
  });
}
