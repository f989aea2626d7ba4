// What a click, a filter or a choice does: it links the models of Bokeh, which have names, and shows runs.
(function start() {
  const doc = window.Bokeh && Bokeh.documents[0];
  if (!doc || !doc.get_model_by_name("runs")) return void setTimeout(start, 30);
  const page = JSON.parse(document.getElementById("report").textContent);
  const model = (name) => doc.get_model_by_name(name);
  const runs = model("runs"), lines = model("lines"), own = model("own");
  const value = (name) => model(name)?.value ?? "";
  const at = (id) => document.getElementById(id);
  const count = page.labels.length;
  const cell = (name, n) => runs.data[page.fields[name]][n];
  const told = (v) => (typeof v === "number" ? (Number.isNaN(v) ? "" : String(Number(v.toPrecision(9)))) : v);
  let kept = [];

  function element(tag, text, properties = {}) {
    const made = Object.assign(document.createElement(tag), properties);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // The conditions of the text filter, "elbo > -30, latent = 4", each a function of a run's number.
  function conditions(text) {
    return text.split(/,| and |&&/).map((part) => part.trim()).filter(Boolean).map((part) => {
      const found = part.match(/^(.+?)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*)$/);
      if (!found) {
        const word = part.toLowerCase();
        return (n) => Object.keys(page.fields).some((name) => told(cell(name, n)).toLowerCase().includes(word));
      }
      const [, name, sign, asked] = found;
      if (!(name in page.fields)) throw `no column ${name}: there are ${Object.keys(page.fields).join(", ")}`;
      const number = Number(asked);
      return (n) => {
        const raw = cell(name, n), numeric = typeof raw === "number" && asked !== "" && !Number.isNaN(number);
        const a = numeric ? raw : told(raw), b = numeric ? number : asked;
        const order = { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b };
        if (sign === "~") return told(raw).toLowerCase().includes(asked.toLowerCase());
        return sign in order ? order[sign] : (a === b) === (sign !== "!=");
      };
    });
  }

  function filter() {
    let own = [];
    at("fault").textContent = "";
    try { own = conditions(value("filter")); } catch (fault) { at("fault").textContent = fault; }
    page.axes.forEach((axis, place) => {
      const only = value(`only${place}`);
      if (only !== "") own.push((n) => axis.of[n] === Number(only));
    });
    kept = Array.from({ length: count }, (_, n) => own.every((holds) => holds(n)));
    model("kept").booleans = kept;
    at("count").textContent = `${kept.filter(Boolean).length} of ${count} runs are shown.`;
    draw();
  }

  const axis = (name) => page.axes.find((one) => one.name === value(name));
  const looks = (name, kind, usual) => {
    const one = axis(name);
    return page.labels.map((_, n) => (one ? one[kind][one.of[n]] : usual));
  };

  // The curves, points and legend, of what is kept and of what was chosen.
  function draw() {
    const color = looks("color", "colors", page.color), dash = looks("shape", "dashes", "solid");
    const data = { xs: [], ys: [], bx: [], by: [], color: [], dash: [], label: [] };
    const metric = value("metric");
    let low = Infinity, high = -Infinity;
    page.shown = page.lines.filter((line) => line.mean[metric] && line.runs.some((n) => kept[n]));
    for (const line of page.shown) {
      const mean = line.mean[metric].map((v) => v ?? NaN), [least, most] = line.band[metric] ?? [[], []];
      data.xs.push(line.x);
      data.ys.push(mean);
      data.bx.push([...line.x.filter((_, n) => least[n] != null), ...line.x.filter((_, n) => least[n] != null).reverse()]);
      data.by.push([...least.filter((v) => v != null), ...most.filter((v) => v != null).reverse()]);
      data.color.push(color[line.runs[0]]);
      data.dash.push(dash[line.runs[0]]);
      data.label.push(line.label);
      // The first tenth, which is far below all else, does not set the range, nor does a run that diverged.
      const late = line.x.map((x) => x >= line.x[line.x.length - 1] / 10);
      if (line.sound) for (const own of [mean, least, most]) own.forEach((v, n) => {
        if (late[n] && v != null && !Number.isNaN(v)) { low = Math.min(low, v); high = Math.max(high, v); }
      });
    }
    lines.selected.indices = [];
    lines.data = data;
    const seen = page.shown.flatMap((line) => [line.x[0], line.x[line.x.length - 1]]);
    range(model("curves").y_range, [low, high]);
    range(model("curves").x_range, seen, true);
    const names = ["x", "y"].map((name) => model(name)?.options.find(([field]) => field === value(name))?.[1] ?? "");
    runs.data = { ...runs.data, color, marker: looks("shape", "markers", "circle"),
      x: runs.data[value("x")] ?? runs.data.rate, y: runs.data[value("y")] ?? runs.data.rate };
    const usable = page.labels.map((_, n) => n).filter((n) => kept[n] && page.sound[n]);
    for (const [plot, x, y] of [["plane", "rate", "distortion"], ["scatter", "x", "y"]]) {
      range(model(plot).x_range, usable.map((n) => runs.data[x][n]));
      range(model(plot).y_range, usable.map((n) => runs.data[y][n]));
    }
    model("scatter").below[0].axis_label = names[0];
    model("scatter").left[0].axis_label = names[1];
    model("curves").left[0].axis_label = model("metric")?.options.find(([field]) => field === metric)?.[1] ?? "";
    legend();
    show();
  }

  // An axis that has the finite ones of some values, and a margin.
  function range(axis, values, log = false) {
    const found = values.filter(Number.isFinite), low = Math.min(...found), high = Math.max(...found);
    if (!found.length) return;
    const margin = 0.06 * (high - low) || Math.abs(high) / 10 || 1, wide = low < high ? (high / low) ** 0.03 : 2;
    const [start, end] = log ? [low / wide, high * wide] : [low - margin, high + margin];
    axis.setv({ start, end, reset_start: start, reset_end: end });
  }

  function legend() {
    at("legend").replaceChildren();
    for (const [name, kind] of [["color", "colors"], ["shape", "marks"]]) {
      const one = axis(name);
      if (!one) continue;
      const step = Math.ceil(one.texts.length / 16);
      at("legend").append(element("b", `${one.name}: `));
      one.texts.forEach((text, n) => {
        if (n % step && n < one.texts.length - 1) return;
        const item = element("span");
        if (kind === "colors") { const box = element("i"); box.style.background = one.colors[n]; item.append(box, text); }
        else item.append(element("em", one.marks[n]), text);
        at("legend").append(item);
      });
    }
  }

  // The selected runs: their curves, pictures, rates and values.
  function show() {
    const chosen = runs.selected.indices.filter((n) => n < count), metric = value("metric");
    own.data = { xs: chosen.map((n) => page.lines[page.line[n]].x),
      ys: chosen.map((n) => (page.own[n]?.[metric] ?? page.lines[page.line[n]].mean[metric] ?? []).map((v) => v ?? NaN)) };
    at("details").replaceChildren(...chosen.slice(0, 6).map(detail));
    if (!chosen.length) at("details").append(element("p", "Click a point, a curve or a row.", { className: "small" }));
    if (chosen.length > 6) at("details").append(element("p", `and ${chosen.length - 6} more`));
    remember();
  }

  function detail(n) {
    const box = element("article"), picture = page.pictures[n];
    box.append(element("h3", page.labels[n]));
    const values = element("dl");
    for (const name of Object.keys(page.fields)) {
      const text = told(cell(name, n));
      if (text !== "") values.append(element("dt", name), element("dd", text));
    }
    if (!picture) return box.append(element("p", page.without[n] ?? "", { className: "small" }), values), box;
    const parts = element("div", undefined, { className: "parts" });
    for (const [title, top, height, labels] of picture.parts) {
      const part = element("div", undefined, { className: "part" }), row = element("div"), k = picture.scale;
      const names = element("div", undefined, { className: "rows" });
      labels.filter(Boolean).forEach((label) => names.append(element("span", label)));
      const strip = element("div", undefined, { className: "strip", title });
      Object.assign(strip.style, { width: `${k * picture.size[0]}px`, height: `${k * height}px`,
        backgroundImage: `url("${picture.src}")`, backgroundPosition: `0 -${k * top}px`,
        backgroundSize: `${k * picture.size[0]}px ${k * picture.size[1]}px` });
      row.append(names, strip);
      part.append(element("h4", title), row);
      parts.append(part);
    }
    box.append(parts);
    if (!picture.src.startsWith("data:")) {
      box.append(element("p", "", { className: "small" }));
      box.lastChild.append("The picture is not in this page, but in ", element("a", decodeURIComponent(picture.src), { href: picture.src }));
    }
    if (picture.rates.length) {
      const part = element("div", undefined, { className: "part" });
      const rates = element("div", undefined, { className: "rates" }), most = Math.max(...picture.rates.map(([, v]) => v), 1e-9);
      for (const [name, nats] of picture.rates) {
        const cell = element("span"), bar = element("i");
        bar.style.width = `${Math.max(0, (100 * nats) / most)}%`;
        cell.append(bar);
        rates.append(element("span", name), cell, element("span", `${nats.toFixed(3)} nats`));
      }
      part.append(element("h4", `rates, mean over the ${page.kept} test examples that are kept`), rates);
      parts.append(part);
    }
    box.append(values);
    return box;
  }

  // What was chosen outlives a reload: the filter, the selects, and the runs.
  const inputs = ["filter", "color", "shape", "metric", "x", "y", ...page.axes.map((_, n) => `only${n}`)];
  const place = `aevae report ${location.pathname}`;
  let ready = false;
  function remember() {
    if (!ready) return;
    const state = { chosen: runs.selected.indices.map((n) => page.keys[n]), scroll: window.scrollY };
    for (const name of inputs) {
      const input = model(name), options = input?.options;
      state[name] = name.startsWith("only") ? options?.find(([v]) => v === input.value)?.[1] : input?.value;
    }
    try { sessionStorage.setItem(place, JSON.stringify(state)); } catch { /* a browser may forbid it */ }
  }
  function recall() {
    let state = {};
    try { state = JSON.parse(sessionStorage.getItem(place)) ?? {}; } catch { /* as above */ }
    for (const name of inputs) {
      const input = model(name);
      if (!input || typeof state[name] !== "string") continue;
      const known = input.options?.find(([v, text]) => (name.startsWith("only") ? text : v) === state[name]);
      if (!input.options || known) input.value = known ? known[0] : state[name];
    }
    runs.selected.indices = (state.chosen ?? []).map((key) => page.keys.indexOf(key)).filter((n) => n >= 0);
    if (state.scroll) setTimeout(() => window.scrollTo(0, state.scroll), 200);
  }

  recall();
  filter();
  ready = true;
  for (const name of inputs) {
    const change = name === "filter" || name.startsWith("only") ? filter : draw;
    model(name)?.properties.value.change.connect(change);
  }
  runs.selected.properties.indices.change.connect(show);
  lines.selected.properties.indices.change.connect(() => {
    const taken = lines.selected.indices.flatMap((n) => page.shown[n].runs);
    if (taken.length) runs.selected.indices = taken.filter((n) => kept[n]);
  });
  addEventListener("beforeunload", remember);
  document.body.dataset.ready = "yes";

  // While a sweep trains: a page cannot read files beside it, but can run a script that says which is the newest.
  if (page.beside) {
    window.aevaeReport = (stamp) => { if (stamp !== page.stamp) location.reload(); };
    setInterval(() => {
      const script = element("script", undefined, { src: `${page.beside}?${Date.now()}` });
      script.onload = script.onerror = () => script.remove();
      document.head.append(script);
    }, page.every * 1000);
  }
})();
