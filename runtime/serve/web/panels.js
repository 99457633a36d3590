// The panels left and right of the chat: columns where there is room, drawers over the page where there is not. An open
// drawer makes the rest inert, so that neither Tab nor a screen reader leaves it.

import { byId } from "./dom.js";

// The widths of style.css.
const PANELS = {
  rail: { narrow: matchMedia("(max-width: 759px)"), opener: "open-rail" },
  machine: { narrow: matchMedia("(max-width: 1119px)"), opener: "open-machine" },
};
const MACHINE_HIDDEN = "onecopy.machine-hidden";
let drawer = null;
let machineHidden = false;
let changed = () => {};

export const isMachineShown = () => (PANELS.machine.narrow.matches ? drawer === "machine" : !machineHidden);

export function closeDrawer() {
  if (drawer === null) return false;
  const { opener } = PANELS[drawer];
  drawer = null;
  apply();
  byId(opener).focus();
  return true;
}

function openDrawer(name) {
  drawer = name;
  apply();
  byId(`close-${name}`).focus();
}

function toggleMachine() {
  if (PANELS.machine.narrow.matches) return openDrawer("machine");
  machineHidden = !machineHidden;
  try {
    localStorage.setItem(MACHINE_HIDDEN, machineHidden ? "yes" : "");
  } catch {
    // Then the panel is back after a reload.
  }
  apply();
}

function apply() {
  if (drawer && !PANELS[drawer].narrow.matches) drawer = null;
  for (const name of Object.keys(PANELS)) {
    byId(name).classList.toggle("open", drawer === name);
    byId(name).inert = drawer !== null && drawer !== name;
  }
  const machine = byId("machine");
  machine.hidden = !PANELS.machine.narrow.matches && machineHidden;
  byId("main").inert = drawer !== null;
  byId("shade").hidden = drawer === null;
  byId("open-machine").setAttribute("aria-expanded", String(isMachineShown()));
  changed();
}

export function initPanels(onChange) {
  changed = onChange;
  try {
    machineHidden = Boolean(localStorage.getItem(MACHINE_HIDDEN));
  } catch {
    // Storage is forbidden: the panel is shown.
  }
  byId("open-rail").addEventListener("click", () => openDrawer("rail"));
  byId("open-machine").addEventListener("click", toggleMachine);
  byId("close-rail").addEventListener("click", closeDrawer);
  byId("close-machine").addEventListener("click", () => closeDrawer() || toggleMachine());
  byId("shade").addEventListener("click", closeDrawer);
  for (const { narrow } of Object.values(PANELS)) narrow.addEventListener("change", apply);
  apply();
}
