// Keeps what is marked `data-live` fresh: the server says when something changed, the page is fetched again, and what differs is
// put in place. One connection for all of it. Without scripts every page shows the same, as of when it was loaded.

const lamp = document.querySelector(".live");

async function refresh() {
  if (document.hidden || !document.querySelector("[data-live]")) return;
  const reply = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
  if (!reply.ok) {
    if (reply.type === "opaqueredirect") location.reload();
    return;
  }
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(old.id);
    if (next && next.innerHTML !== old.innerHTML && !old.contains(document.activeElement)) old.replaceWith(next);
  }
}

if (lamp && document.querySelector("[data-live]")) {
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; refresh().catch(() => {}); }, 300);
  };
  const source = new EventSource("/ui/events");
  source.addEventListener("changed", soon);
  source.onopen = () => { lamp.classList.add("on"); lamp.title = "live"; };
  source.onerror = () => { lamp.classList.remove("on"); lamp.title = "not connected"; };
  document.addEventListener("visibilitychange", soon);
}

// Times in the reader's own zone; the page has them in UTC.
function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString();
  }
}
local(document);
