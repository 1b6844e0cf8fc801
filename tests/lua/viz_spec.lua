-- Figures: the bytes of files, the characters of a terminal, and values that are hard to show.

local viz = require "rapt.viz"
local file = require "rapt.file"

local folder

local function causal(n)
  local rows = {}
  for i = 1, n do
    rows[i] = {}
    for j = 1, n do rows[i][j] = j <= i and 1 / i or 0 end
  end
  return rows
end

-- What a figure writes to its `out`.
local function drawn(draw, data, options)
  local parts = {}
  options.out = { write = function(_, text) parts[#parts + 1] = text end }
  draw(data, options)
  return table.concat(parts)
end

-- Whether every element of an XML text is closed by its own name.
local function well_formed(text)
  local open = {}
  text = text:gsub("^<%?xml.-%?>", "")
  for slash, name, rest in text:gmatch("<(/?)([%w]+)(.-)>") do
    if slash == "/" then
      if table.remove(open) ~= name then return false, name end
    elseif rest:sub(-1) ~= "/" then
      open[#open + 1] = name
    end
  end
  return #open == 0, open[#open]
end

describe("viz", function()
  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(file.make_folder(folder))
  end)

  teardown(function() os.execute("rm -r '" .. folder .. "'") end)

  it("has nine rows of five pixels for every glyph", function()
    assert.is_true(require("rapt.viz.font").sound())
  end)

  it("writes PNG files: signature, size, and nothing left beside them", function()
    local path = folder .. "/a.png"
    assert.equal(path, viz.heatmap(causal(16), { path = path, title = "weights", xlabel = "key",
      ylabel = "query" }))
    local bytes = assert(file.read(path))
    assert.equal("\137PNG\r\n\26\n", bytes:sub(1, 8))
    assert.equal("IHDR", bytes:sub(13, 16))
    local width, height, depth, kind = (">I4I4BB"):unpack(bytes, 17)
    assert.is_true(width > 400 and width < 4000 and height > 400 and height < 4000)
    assert.same({ 8, 2 }, { depth, kind })
    assert.equal("IEND", bytes:sub(-8, -5))
    local left = io.popen("ls -A '" .. folder .. "' | grep -v '^a.png$' | wc -l"):read("n")
    assert.equal(0, left)
  end)

  it("shows the colours of the values in a PNG's pixels", function()
    local canvas = require("rapt.viz.raster").new(4, 2)
    canvas:cells(0, 0, 4, 2, 1, 2, function(_, column) return column == 1 and 0x102030 or 0xff0000 end)
    assert.equal(0x102030, canvas.pixels[1])
    assert.equal(0x102030, canvas.pixels[4])
    assert.equal(0xff0000, canvas.pixels[5])
    assert.equal(0xff0000, canvas.pixels[8 * 4])
  end)

  it("writes SVG files that are well formed and escape their texts", function()
    local path = folder .. "/a.svg"
    viz.heatmap({ causal(8), causal(8), causal(8) }, { path = path, title = 'a <b> & "c"', xlabel = "k>" })
    local text = assert(file.read(path))
    assert.is_true(well_formed(text))
    assert.truthy(text:find("a &lt;b&gt; &amp; &quot;c&quot;", 1, true))
    for head = 1, 3 do assert.truthy(text:find(">head " .. head .. "</text>", 1, true)) end
    local lines = folder .. "/b.svg"
    viz.lines({ softmax = { 3, 2, 1.5 }, cog = { 3, 2.5, 0 / 0, 1 } }, { path = lines, xlabel = "step" })
    text = assert(file.read(lines))
    assert.is_true(well_formed(text))
    assert.falsy(text:lower():find("nan", 1, true))
  end)

  it("draws curves to PNG", function()
    local path = folder .. "/c.png"
    viz.lines({ { name = "one", y = { 1, 2, 3 } }, { name = "two", x = { 1, 3 }, y = { 3, 1 } } },
      { path = path })
    assert.equal("\137PNG", assert(file.read(path)):sub(1, 4))
  end)

  it("degrades with the terminal: all colours, 256, characters, ASCII", function()
    local data = { { 0, 1 }, { 1, 0.5 } }
    local full = drawn(viz.heatmap, data, { colours = "truecolor", utf8 = true, width = 80 })
    assert.truthy(full:find("\27%[38;2;%d+;%d+;%d+m") and full:find("▀"))
    local some = drawn(viz.heatmap, data, { colours = "256", utf8 = true, width = 80 })
    assert.truthy(some:find("\27%[38;5;%d+m"))
    assert.falsy(some:find("38;2;", 1, true))
    local none = drawn(viz.heatmap, data, { colours = "none", utf8 = true, width = 80 })
    assert.falsy(none:find("\27", 1, true))
    assert.truthy(none:find("█"))
    local ascii = drawn(viz.heatmap, data, { colours = "none", utf8 = false, width = 80 })
    assert.falsy(ascii:find("[\128-\255]"))
    assert.falsy(ascii:find("\27", 1, true))
  end)

  it("keeps within the width, averaging what does not fit and saying so", function()
    for _, width in ipairs { 20, 40, 80, 200 } do
      local text = drawn(viz.heatmap, causal(300), { colours = "none", utf8 = false, width = width })
      for line in text:gmatch("[^\n]+") do
        if not line:find("averaged", 1, true) then assert.is_true(#line <= width, line) end
      end
      assert.truthy(text:find("300 x 300 averaged to", 1, true))
    end
  end)

  it("averages by area", function()
    local panels = require "rapt.viz.panels"
    local data = panels.read({ { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } }, 2, 2, 1)
    -- a cell covers one and a half rows and columns
    local expected = { { 7 / 3, 11 / 3 }, { 19 / 3, 23 / 3 } }
    for i = 1, 2 do
      for j = 1, 2 do assert.near(expected[i][j], data.panels[1].values[i][j], 1e-12) end
    end
  end)

  it("shows NaN, infinities, constants, and single values", function()
    local nan, huge = 0 / 0, math.huge
    local text = drawn(viz.heatmap, { { nan, 1 }, { -huge, 2 } }, { colours = "none", utf8 = true,
      width = 80 })
    assert.truthy(text:find("1 NaN", 1, true) and text:find("1 infinite", 1, true) and text:find("?", 1,
      true))
    for _, data in ipairs { { { 3, 3 }, { 3, 3 } }, { 5 }, { { nan } }, { 0, 0 } } do
      for _, colours in ipairs { "none", "256", "truecolor" } do
        assert.truthy(#drawn(viz.heatmap, data, { colours = colours, utf8 = true, width = 80 }) > 0)
      end
      viz.heatmap(data, { path = folder .. "/odd.png" })
      viz.heatmap(data, { path = folder .. "/odd.svg" })
    end
  end)

  it("puts zero in the middle of signed data", function()
    local scale = require("rapt.viz.colour").scale(-0.2, 0.8, {})
    assert.is_true(scale.signed)
    assert.equal(0.5, scale.place(0))
    assert.same({ -0.8, 0.8 }, { scale.low, scale.high })
  end)

  it("has colour maps whose lightness rises evenly", function()
    local map = require("rapt.viz.colour").map("sequential")
    local function luminance(rgb)
      local function linear(byte) return (byte / 255) ^ 2.2 end
      return 0.2126 * linear(rgb >> 16) + 0.7152 * linear(rgb >> 8 & 255) + 0.0722 * linear(rgb & 255)
    end
    for i = 2, #map do assert.is_true(luminance(map[i]) >= luminance(map[i - 1]) - 1e-3) end
  end)

  it("takes tensors of rank 1 to 4, on views and in other dtypes", function()
    local rapt = require "rapt"
    local t = rapt.randn(2, 3, 5, 7)
    for _, one in ipairs { t, t[1], t[1][2], t[1][2][3], t:transpose(3, 4), t:to("f16") } do
      local text = drawn(viz.heatmap, one, { colours = "none", utf8 = false, width = 100 })
      assert.truthy(#text > 0)
    end
    assert.truthy(drawn(viz.heatmap, t, { colours = "none", utf8 = false,
      width = 100 }):find("batch 2, head 3"))
  end)

  it("averages large tensors as it does small ones", function()
    local rapt, panels = require "rapt", require "rapt.viz.panels"
    local t = rapt.rand(700, 600)
    local fast = panels.read(t, 50, 40, 1).panels[1].values
    local slow = panels.read(t:totable(), 50, 40, 1).panels[1].values
    for i = 1, 50 do
      for j = 1, 40 do assert.near(slow[i][j], fast[i][j], 1e-5) end
    end
    local n = panels.read(rapt.full({ 600, 600 }, 1 / 0), 8, 8, 1)
    assert.equal(360000, n.infinite)
  end)

  it("says what is wrong with its arguments", function()
    local function fails(message, f, ...)
      local fine, why = pcall(f, ...)
      assert.is_false(fine)
      assert.truthy(tostring(why):find(message, 1, true), why)
    end
    fails("ending in .png or .svg", viz.heatmap, { 1 }, { path = "x.gif" })
    fails("no option 'titel'", viz.heatmap, { 1 }, { titel = "x" })
    fails("without elements", viz.heatmap, {}, {})
    fails("row 2 has 1 entries, row 1 has 2", viz.heatmap, { { 1, 2 }, { 1 } }, {})
    fails("rank 5", viz.heatmap, { { { { { 1 } } } } }, {})
    fails("expected a tensor or nested tables", viz.heatmap, "x", {})
    fails("expected a tensor or nested tables", viz.heatmap, { "x" }, {})
    fails("no colour map", viz.heatmap, { 1 }, { map = "jet" })
    fails("/proc/none/x.png: ENOENT", function() viz.heatmap({ 1 }, { path = "/proc/none/x.png" }) end)
    fails("has 1 x and 2 y", viz.lines, { { name = "a", x = { 1 }, y = { 1, 2 } } }, {})
    fails("no curve", viz.lines, {}, {})
  end)
end)
