// Keeps what is marked `data-live` fresh: the server says when something changed, the page is fetched again, and what differs is
// put in place. Without scripts every page shows the same, as of when it was loaded.

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

// A stream that is open only while somebody looks: a browser has few connections for one server, and a page that was left, or lies
// behind others, needs none.
function stream(address, listen) {
  let source = null;
  const close = () => {
    source?.close();
    source = null;
    lamp?.classList.remove("on");
  };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(address());
    listen(source, close);
  };
  const follow = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", follow);
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
  return () => {
    document.removeEventListener("visibilitychange", follow);
    window.removeEventListener("pageshow", open);
    close();
  };
}

if (lamp && document.querySelector("[data-live]")) {
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; refresh().catch(() => {}); }, 300);
  };
  let known = true;
  stream(() => "/ui/events", (source) => {
    source.addEventListener("changed", soon);
    source.onopen = () => {
      lamp.classList.add("on");
      lamp.title = "live";
      // What happened while nobody looked.
      if (!known) soon();
      known = false;
    };
    source.onerror = () => { lamp.classList.remove("on"); lamp.title = "not connected"; };
  });
}

// Times in the reader's own zone; the page has them in UTC.
function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString();
  }
}
local(document);

// A rectangle over a picture: dragged, sized at its corner, or moved by arrow keys. The number fields are the truth; both ways follow.
for (const canvas of document.querySelectorAll("[data-crop]")) {
  const form = document.getElementById("rectangle");
  const full = { width: Number(canvas.dataset.width), height: Number(canvas.dataset.height) };
  const field = (name) => form.elements.namedItem(name);
  const sel = document.createElement("div");
  const grip = document.createElement("div");
  sel.className = "sel";
  grip.className = "grip";
  sel.tabIndex = 0;
  sel.setAttribute("role", "group");
  sel.setAttribute("aria-label", "Rectangle; arrows move it, Shift and arrows size it");
  sel.append(grip);
  canvas.append(sel);

  const read = () => Object.fromEntries(["x", "y", "width", "height"].map((name) => [name, Number(field(name).value)]));
  const clamp = (value, low, high) => Math.min(Math.max(Math.round(value), low), Math.max(low, high));
  const write = (r) => {
    r.width = clamp(r.width, 1, full.width);
    r.height = clamp(r.height, 1, full.height);
    r.x = clamp(r.x, 0, full.width - r.width);
    r.y = clamp(r.y, 0, full.height - r.height);
    for (const name of Object.keys(r)) field(name).value = r[name];
    draw();
  };
  const draw = () => {
    const r = read();
    sel.style.left = `${(100 * r.x) / full.width}%`;
    sel.style.top = `${(100 * r.y) / full.height}%`;
    sel.style.width = `${(100 * r.width) / full.width}%`;
    sel.style.height = `${(100 * r.height) / full.height}%`;
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * full.width, y: ((event.clientY - box.top) / box.height) * full.height };
  };
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const from = at(event);
    const start = read();
    const what = event.target === grip ? "size" : event.target === sel ? "move" : "new";
    canvas.setPointerCapture(event.pointerId);
    const move = (event) => {
      const to = at(event);
      const [dx, dy] = [to.x - from.x, to.y - from.y];
      if (what === "move") write({ ...start, x: start.x + dx, y: start.y + dy });
      else if (what === "size") write({ ...start, width: Math.min(start.width + dx, full.width - start.x), height: Math.min(start.height + dy, full.height - start.y) });
      else {
        const x = clamp(Math.min(from.x, to.x), 0, full.width);
        const y = clamp(Math.min(from.y, to.y), 0, full.height);
        write({ x, y, width: Math.min(Math.abs(dx), full.width - x), height: Math.min(Math.abs(dy), full.height - y) });
      }
    };
    const up = () => {
      canvas.removeEventListener("pointermove", move);
      sel.focus();
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", up, { once: true });
    canvas.addEventListener("pointercancel", up, { once: true });
  });
  sel.addEventListener("keydown", (event) => {
    const step = event.ctrlKey ? 1 : Math.max(1, Math.round(full.width / 100));
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!by) return;
    event.preventDefault();
    const r = read();
    write(event.shiftKey ? { ...r, width: Math.min(r.width + by[0], full.width - r.x), height: Math.min(r.height + by[1], full.height - r.y) } : { ...r, x: r.x + by[0], y: r.y + by[1] });
  });
  form.addEventListener("input", draw);
  draw();
}

// Hours of the week: a rectangle of days and hours is dragged, or chosen with the keyboard. The form below is the truth; both ways follow.
for (const week of document.querySelectorAll("#week")) {
  const form = document.getElementById("hours");
  const days = [...form.querySelectorAll("input[type=checkbox]")];
  const field = (name) => form.elements.namedItem(name);
  const cells = [...week.querySelectorAll("td[data-day]")];
  const cell = (day, hour) => cells[day * 24 + hour];
  const place = (of) => ({ day: Number(of.dataset.day), hour: Number(of.dataset.hour) });
  const hint = document.getElementById("week-hint");
  hint.textContent = `${hint.dataset.scripted} ${hint.textContent}`;
  week.setAttribute("role", "grid");
  week.setAttribute("aria-multiselectable", "true");
  for (const one of cells) {
    one.setAttribute("role", "gridcell");
    one.tabIndex = -1;
  }
  let from = { day: 0, hour: 8 };
  cell(from.day, from.hour).tabIndex = 0;

  const draw = () => {
    const [begin, end] = [Number(field("from").value), Number(field("to").value)];
    const ticked = days.map((day) => day.checked);
    for (const one of cells) {
      const { day, hour } = place(one);
      const wraps = end <= begin;
      const isIn = (ticked[day] && hour >= begin && (wraps || hour < end)) || (wraps && ticked[(day + 6) % 7] && hour < end);
      one.classList.toggle("chosen", isIn);
      one.setAttribute("aria-selected", String(isIn));
    }
  };
  const choose = (to) => {
    const [top, bottom] = [Math.min(from.day, to.day), Math.max(from.day, to.day)];
    days.forEach((day, at) => { day.checked = at >= top && at <= bottom; });
    field("from").value = Math.min(from.hour, to.hour);
    field("to").value = Math.max(from.hour, to.hour) + 1;
    draw();
  };
  const focus = (to) => {
    for (const one of cells) one.tabIndex = -1;
    const next = cell(to.day, to.hour);
    next.tabIndex = 0;
    next.focus();
  };
  const under = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest("#week td[data-day]");
  week.addEventListener("pointerdown", (event) => {
    const first = under(event);
    if (!first || event.button !== 0) return;
    event.preventDefault();
    from = place(first);
    focus(from);
    choose(from);
    week.setPointerCapture(event.pointerId);
    const move = (event) => {
      const over = under(event);
      if (over) choose(place(over));
    };
    const up = () => week.removeEventListener("pointermove", move);
    week.addEventListener("pointermove", move);
    week.addEventListener("pointerup", up, { once: true });
    week.addEventListener("pointercancel", up, { once: true });
  });
  week.addEventListener("keydown", (event) => {
    const at = event.target.closest("td[data-day]");
    if (!at) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      field("rate").focus();
      return;
    }
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    const now = place(at);
    const to = { day: Math.min(Math.max(now.day + by[0], 0), 6), hour: Math.min(Math.max(now.hour + by[1], 0), 23) };
    if (!event.shiftKey) from = to;
    choose(to);
    focus(to);
  });
  form.addEventListener("input", draw);
  draw();
}

// Choosing in a list shows what was chosen.
for (const select of document.querySelectorAll("form[method=get] select")) select.addEventListener("change", () => select.form.requestSubmit());

// The log of a run that goes on. Each line has its number, so that a stream which broke or was closed goes on with the next.
for (const log of document.querySelectorAll("[data-follow]")) {
  const address = new URL(log.dataset.follow, location);
  const stop = stream(() => address.href, (source) => {
    source.addEventListener("line", (event) => {
      const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
      log.append(`${event.data}\n`);
      if (atEnd) log.scrollTop = log.scrollHeight;
      address.searchParams.set("from", Number(event.lastEventId) + 1);
    });
    source.addEventListener("end", () => {
      stop();
      refresh().catch(() => {});
    });
  });
}
