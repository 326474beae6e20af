// Every two seconds: replaces the parts of the page that have changed since the last answer.
const state = document.getElementById("state");
const shown = {};
let known = "";

async function refresh() {
  try {
    const answer = await fetch(`state?${known}`, { cache: "no-store" });
    const { digest, parts, error } = await answer.json();
    known = digest;
    for (const [name, html] of Object.entries(parts)) {
      if (shown[name] !== html) document.getElementById(`part-${name}`).innerHTML = shown[name] = html;
    }
    state.textContent = error || `Updated at ${new Date().toLocaleTimeString()}, from this machine only.`;
  } catch {
    state.textContent = "The server has ended: this page stays as it is.";
  }
  setTimeout(refresh, document.hidden ? 10000 : 2000);
}

setTimeout(refresh, 2000);
