// The two dialogs: settings of a conversation, and a question for one line (a new name, the API key).

import { byId, setText } from "./dom.js";
import { NUMBERS, cleanSettings } from "./store.js";

// Opens a dialog; resolves to what read() makes of its form, or null when it is left. read() returns undefined to stay open.
// The event "close" is of no use here: it comes a frame late, maybe when the dialog is open again for the next question.
function open(dialog, read) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    const end = (value) => {
      dialog.close();
      // Chromium gives the focus back without the caret: keys then arrive, and no text.
      before.blur();
      before.focus();
      resolve(value);
    };
    dialog.oncancel = () => end(null);
    dialog.querySelector("[data-close]").onclick = () => end(null);
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      const value = read();
      if (value !== undefined) end(value);
    };
    dialog.showModal();
  });
}

// Opens the form; resolves to the settings kept, or null.
export function editSettings(settings) {
  const dialog = byId("settings");
  const { elements } = dialog.querySelector("form");
  const error = dialog.querySelector(".error");
  setText(error, "");
  for (const name of [...NUMBERS, "system", "reasoning"]) elements[name].value = settings[name] ?? "";
  return open(dialog, () => {
    const wrong = [...elements].find((input) => !input.checkValidity());
    if (!wrong) return readSettings(elements);
    setText(error, `${wrong.closest("label").firstChild.textContent}: ${wrong.validationMessage}`);
    wrong.focus();
  });
}

function readSettings(elements) {
  const values = { system: elements.system.value, reasoning: elements.reasoning.value };
  for (const name of NUMBERS) if (elements[name].value !== "") values[name] = elements[name].valueAsNumber;
  return cleanSettings(values);
}

// Asks for one line; resolves to it, or null.
export function ask({ title, label, value = "", note = "", ok, secret = false }) {
  const input = byId("ask-input");
  setText(byId("ask-title"), title);
  setText(byId("ask-label"), label);
  setText(byId("ask-note"), note);
  setText(byId("ask-ok"), ok);
  input.type = secret ? "password" : "text";
  input.value = value;
  const answer = open(byId("ask"), () => input.value.trim() || null);
  input.select();
  return answer.finally(() => {
    input.value = "";
  });
}
