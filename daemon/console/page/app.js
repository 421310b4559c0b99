// Logs in with the link behind the # of the address, and says how the device is.
const status = document.getElementById("status");

async function login() {
  const link = new URLSearchParams(location.hash.slice(1)).get("link");
  if (!link) return;
  history.replaceState(null, "", location.pathname);
  const answer = await fetch("api/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ link }),
  });
  if (!answer.ok) status.textContent = (await answer.json()).error;
}

await login();
const answer = await fetch("api/state");
if (answer.ok) {
  const state = await answer.json();
  status.textContent = `${state.device}: ${state.phase}`;
}
