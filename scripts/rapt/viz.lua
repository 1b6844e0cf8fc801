-- rapt.viz: looking at numbers, in the terminal or in a file.
--
--   viz.heatmap(t)                                a map of a tensor of rank 1 to 4 in the terminal
--   viz.heatmap(t, {path = "weights.png"})        or in a file: .png or .svg
--   viz.lines({softmax = losses, cog = losses2})  curves
--
-- Options of both: title, xlabel, ylabel, path, colours ("truecolor", "256", "none": instead of what the
-- terminal says),
-- utf8, width (columns or pixels), out (a file handle instead of standard output).

local colour = require "rapt.viz.colour"
local terminal = require "rapt.terminal"

local viz = {}

-- Cells of one panel that a figure shows at most; more are averaged.
local FILE_CELLS = 256
local FILE_PANELS, SCREEN_PANELS = 64, 16

local function check_options(name, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("%s: options are a table, got %s"):format(name, type(options)), 0)
  end
  for key in pairs(options) do
    if not known[key] then
      local names = {}
      for option in pairs(known) do names[#names + 1] = option end
      table.sort(names)
      error(("%s: no option '%s'; there are %s"):format(name, tostring(key), table.concat(names, ", ")), 0)
    end
  end
  return options
end

local function set_of(text)
  local set = {}
  for word in text:gmatch("%S+") do set[word] = true end
  return set
end

local heatmap_options = set_of("title xlabel ylabel path colours utf8 width out min max map scale across "
  .. "size")
local lines_options = set_of("title xlabel ylabel path colours utf8 width height out ymin ymax")

-- The kind of canvas for a path, by its ending.
local function canvas_for(name, path)
  local ending = type(path) == "string" and path:lower():match("%.(%w+)$")
  if ending == "png" then return require("rapt.viz.raster").new end
  if ending == "svg" then return require("rapt.viz.svg").new end
  error(("%s: path is '%s': expected a name ending in .png or .svg"):format(name, tostring(path)), 0)
end

local function write(name, path, canvas, title)
  local done, why = require("rapt.file").write(path, canvas:bytes(title))
  if not done then error(("%s: %s"):format(name, why), 0) end
  return path
end

local function screen_of(options)
  local out = options.out or io.stdout
  local unicode = options.utf8
  if unicode == nil then unicode = terminal.utf8() end
  return {
    out = out,
    colours = options.colours or (out == io.stdout and terminal.colours(1) or "none"),
    utf8 = unicode,
    width = options.width or terminal.width(),
  }
end

-- What is not shown as it is, in words; nil where there is nothing to say.
local function note_of(data)
  local parts = {}
  local first = data.panels[1]
  if first.rows < first.full_rows or first.columns < first.full_columns then
    parts[#parts + 1] = ("%d x %d averaged to %d x %d"):format(first.full_rows, first.full_columns,
      first.rows,
      first.columns)
  end
  if data.left_out > 0 then parts[#parts + 1] = ("%d more not shown"):format(data.left_out) end
  if data.nan > 0 then parts[#parts + 1] = ("%d NaN"):format(data.nan) end
  if data.infinite > 0 then parts[#parts + 1] = ("%d infinite"):format(data.infinite) end
  return #parts > 0 and table.concat(parts, ", ") or nil
end

-- Cells of a panel's side on a screen, and panels in a row: as many panels beside each other as keep some 20
-- cells, up to 64 for
-- one alone.
local function screen_cells(n_panels, screen, half)
  local unit = half and 1 or 2 -- characters a cell is wide
  local least = half and 24 or 18
  local across = math.max(1, math.min(n_panels, (screen.width + 2) // (least * unit + 2)))
  across = math.ceil(n_panels / math.ceil(n_panels / across)) -- as many in the last row as in the others
  return math.max(4, math.min(64, (screen.width - 2 * (across - 1)) // across // unit)), across
end

--- Shows a tensor (or nested tables) as colours: rank 1 as a row, 2 as a matrix, 3 as heads, 4 as batch and
-- heads. Values on
--- both sides of zero get a map with zero in its middle. Returns the path where a file was written.
function viz.heatmap(t, options)
  options = check_options("viz.heatmap", options, heatmap_options)
  local panels = require "rapt.viz.panels"
  if options.path then
    local new_canvas = canvas_for("viz.heatmap", options.path)
    local data = panels.read(t, FILE_CELLS, FILE_CELLS, FILE_PANELS)
    local scale = colour.scale(data.low, data.high, options)
    local drawing = { title = options.title, xlabel = options.xlabel, ylabel = options.ylabel,
      note = note_of(data),
      across = options.across, size = options.size }
    return write("viz.heatmap", options.path, require("rapt.viz.figure").heatmap(new_canvas, data, scale,
      drawing),
      options.title)
  end
  local screen = screen_of(options)
  local half = screen.utf8 and (screen.colours == "truecolor" or screen.colours == "256")
  local cells, across = screen_cells(math.min(panels.count(t), SCREEN_PANELS), screen, half)
  local data = panels.read(t, cells, cells, SCREEN_PANELS)
  local scale = colour.scale(data.low, data.high, options)
  local first = data.panels[1]
  local zoom = math.max(1, math.min(4, cells // math.max(first.rows, first.columns)))
  screen.out:write(require("rapt.viz.screen").heatmap(data, scale, { title = options.title,
    width = screen.width,
    colours = screen.colours, utf8 = screen.utf8, zoom = zoom, across = across, note = note_of(data) }))
end

-- --- Curves ----------------------------------------------------------------------------------

local function numbers_of(name, what, list)
  if type(list) ~= "table" and type(list) ~= "userdata" then
    error(("viz.lines: %s of '%s' is a %s: expected a list of numbers"):format(what, name, type(list)), 0)
  end
  if type(list) == "userdata" then list = list:totable() end
  for i, x in ipairs(list) do
    if type(x) ~= "number" then
      error(("viz.lines: entry %d of %s of '%s' is a %s: expected a number"):format(i, what, name,
        type(x)), 0)
    end
  end
  return list
end

-- {name = y, ...} in order of name, or {{name =, x =, y =, colour =}, ...} in the order given.
local function series_of(given)
  if type(given) ~= "table" then
    error(("viz.lines: expected a table of curves, got %s"):format(type(given)), 0)
  end
  local list = {}
  if #given > 0 then
    for i, one in ipairs(given) do
      if type(one) ~= "table" then error(("viz.lines: curve %d is a %s"):format(i, type(one)), 0) end
      list[i] = { name = tostring(one.name or ("curve " .. i)), x = one.x, y = one.y or one,
        colour = one.colour }
    end
  else
    for name, y in pairs(given) do list[#list + 1] = { name = tostring(name), y = y } end
    table.sort(list, function(a, b) return a.name < b.name end)
  end
  if #list == 0 then error("viz.lines: no curve", 0) end
  for i, one in ipairs(list) do
    one.y = numbers_of(one.name, "y", one.y)
    if one.x then
      one.x = numbers_of(one.name, "x", one.x)
      if #one.x ~= #one.y then
        error(("viz.lines: '%s' has %d x and %d y"):format(one.name, #one.x, #one.y), 0)
      end
    else
      one.x = {}
      for k = 1, #one.y do one.x[k] = k end
    end
    one.colour = one.colour or colour.palette[(i - 1) % #colour.palette + 1]
  end
  return list
end

local function bounds(list, key)
  local low, high = math.huge, -math.huge
  for _, one in ipairs(list) do
    for _, v in ipairs(one[key]) do
      if v == v and math.abs(v) ~= math.huge then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  if low > high then low, high = 0, 1 end
  return low, high
end

-- A range with width, a little wider than the data.
local function widen(low, high, share)
  if low == high then
    local room = low == 0 and 1 or math.abs(low) * 0.1
    return low - room, high + room
  end
  local room = (high - low) * share
  return low - room, high + room
end

--- Shows curves. `given`: {name = {y1, y2, ...}, ...}, or a list of {name =, x =, y =, colour =} that keeps
-- its order.
--- Returns the path where a file was written.
function viz.lines(given, options)
  options = check_options("viz.lines", options, lines_options)
  local view = { series = series_of(given), title = options.title, xlabel = options.xlabel,
    ylabel = options.ylabel }
  view.x_low, view.x_high = bounds(view.series, "x")
  if view.x_low == view.x_high then view.x_low, view.x_high = widen(view.x_low, view.x_high, 0) end
  local y_low, y_high = bounds(view.series, "y")
  view.y_low, view.y_high = widen(y_low, y_high, 0.04)
  view.y_low, view.y_high = options.ymin or view.y_low, options.ymax or view.y_high
  if options.path then
    local new_canvas = canvas_for("viz.lines", options.path)
    local canvas = require("rapt.viz.figure").lines(new_canvas, view, { width = options.width,
      height = options.height })
    return write("viz.lines", options.path, canvas, options.title)
  end
  local screen = screen_of(options)
  screen.out:write(require("rapt.viz.screen").lines(view, { width = math.min(screen.width, 110),
    rows = options.height, colours = screen.colours, utf8 = screen.utf8 }))
end

return viz
