-- Figures made of characters, for a terminal.

local colour = require "rapt.viz.colour"
local axis = require "rapt.viz.axis"

local screen = {}

-- From little to much, and for what lies below zero, where there are no colours.
local shades = {
  utf8 = { above = { " ", "░", "▒", "▓", "█" }, below = { " ", "·", "∘", "○", "●" }, missing = "?" },
  ascii = { above = { " ", ".", "+", "#", "@" }, below = { " ", ",", "-", "=", "%" }, missing = "?" },
}

local function shade(set, scale, value)
  local x = scale.place(value)
  if not x then return set.missing end
  local ramp = set.above
  if scale.signed then
    if x < 0.5 then ramp = set.below end
    x = math.abs(2 * x - 1)
  end
  return ramp[math.min(#ramp, math.floor(x * (#ramp - 1) + 0.5) + 1)]
end

-- Two cells above one another in one character: the upper half has the foreground.
local function half_blocks(panel, scale, zoom, colours)
  local lines = {}
  local height, width = panel.rows * zoom, panel.columns * zoom
  for y = 1, height, 2 do
    local upper_row = panel.values[(y - 1) // zoom + 1]
    local lower_row = y < height and panel.values[y // zoom + 1] or nil
    local parts, last_upper, last_lower = {}, nil, nil
    for x = 1, width do
      local column = (x - 1) // zoom + 1
      local upper = scale.colour(upper_row[column])
      local lower = lower_row and scale.colour(lower_row[column])
      if upper ~= last_upper then parts[#parts + 1] = colour.escape(upper, colours) end
      if lower and lower ~= last_lower then parts[#parts + 1] = colour.escape(lower, colours, true) end
      parts[#parts + 1] = "▀"
      last_upper, last_lower = upper, lower
    end
    lines[#lines + 1] = table.concat(parts) .. "\27[0m"
  end
  return lines, width
end

-- A cell is two characters wide, about as wide as it is high.
local function characters(panel, scale, zoom, set)
  local lines = {}
  for _, row in ipairs(panel.values) do
    local parts = {}
    for _, value in ipairs(row) do parts[#parts + 1] = shade(set, scale, value):rep(2 * zoom) end
    for _ = 1, zoom do lines[#lines + 1] = table.concat(parts) end
  end
  return lines, panel.columns * zoom * 2
end

local function pad(text, width)
  return text .. (" "):rep(math.max(0, width - (utf8.len(text) or #text)))
end

local function legend(scale, options)
  local low, high = axis.text(scale.low), axis.text(scale.high)
  local parts = {}
  for i = 0, 23 do
    local value = scale.low + (scale.high - scale.low) * i / 23
    if options.colours then
      parts[#parts + 1] = colour.escape(scale.colour(value), options.colours) .. "█"
    else
      parts[#parts + 1] = shade(options.set, scale, value)
    end
  end
  return ("%s %s%s %s"):format(low, table.concat(parts), options.colours and "\27[0m" or "", high)
end

--- Panels side by side, `across` in a row. colours: "truecolor", "256", or anything else
-- for none.
function screen.heatmap(data, scale, options)
  local blocks = (options.colours == "truecolor" or options.colours == "256") and options.utf8
  local style = { colours = blocks and options.colours or nil, set = options.utf8 and shades.utf8
    or shades.ascii }
  local out = {}
  if options.title then out[#out + 1] = options.title end
  local row_of_panels = {}
  local function flush()
    local height = 0
    for _, drawn in ipairs(row_of_panels) do height = math.max(height, #drawn.lines) end
    for y = 0, height do
      local parts = {}
      for _, drawn in ipairs(row_of_panels) do
        if y == 0 then
          parts[#parts + 1] = pad(drawn.label or "", drawn.width)
        else
          parts[#parts + 1] = drawn.lines[y] or (" "):rep(drawn.width)
        end
      end
      local line = table.concat(parts, "  ")
      if y > 0 or line:find("%S") then out[#out + 1] = (line:gsub(" +$", "")) end
    end
    row_of_panels = {}
  end
  for _, panel in ipairs(data.panels) do
    local lines, width
    if blocks then
      lines, width = half_blocks(panel, scale, options.zoom, options.colours)
    else
      lines, width = characters(panel, scale, options.zoom, style.set)
    end
    if #row_of_panels == options.across then flush() end
    row_of_panels[#row_of_panels + 1] = { lines = lines, width = width, label = panel.label }
  end
  flush()
  out[#out + 1] = legend(scale, style) .. (options.note and ("   " .. options.note) or "")
  return table.concat(out, "\n") .. "\n"
end

-- --- Curves ----------------------------------------------------------------------------------

local function is_finite(x) return x == x and math.abs(x) ~= math.huge end

-- Dots of a Braille character, two columns of four.
local dots = { { 0x01, 0x02, 0x04, 0x40 }, { 0x08, 0x10, 0x20, 0x80 } }
local marks = { "*", "o", "+", "x", "#", "@", "%" }

-- Every dot between two points of the dot grid.
local function trace(x0, y0, x1, y1, visit)
  local steps = math.max(math.abs(x1 - x0), math.abs(y1 - y0), 1)
  for i = 0, steps do
    visit(math.floor(x0 + (x1 - x0) * i / steps + 0.5), math.floor(y0 + (y1 - y0) * i / steps + 0.5))
  end
end

-- The character grid of the curves: bits of Braille dots (or 1), and the curve drawn last there.
local function plot(view, columns, rows, fine_x, fine_y)
  local bits, owner = {}, {}
  for number, series in ipairs(view.series) do
    local last_x, last_y
    for i = 1, #series.x do
      local x, y = series.x[i], series.y[i]
      if is_finite(x) and is_finite(y) then
        local px = (x - view.x_low) / (view.x_high - view.x_low) * (columns * fine_x - 1)
        local py = (view.y_high - y) / (view.y_high - view.y_low) * (rows * fine_y - 1)
        px, py = math.floor(px + 0.5), math.floor(py + 0.5)
        trace(last_x or px, last_y or py, px, py, function(dx, dy)
          local cx, cy = dx // fine_x, dy // fine_y
          if cx < 0 or cx >= columns or cy < 0 or cy >= rows then return end
          local at = cy * columns + cx
          bits[at] = (bits[at] or 0) | (fine_y == 4 and dots[dx % 2 + 1][dy % 4 + 1] or 1)
          owner[at] = number
        end)
        last_x, last_y = px, py
      else
        last_x, last_y = nil, nil
      end
    end
  end
  return bits, owner
end

local function tick_labels(view, rows)
  local labels, width = {}, 0
  for _, y in ipairs(axis.ticks(view.y_low, view.y_high, math.max(2, rows // 3))) do
    local at = math.floor((view.y_high - y) / (view.y_high - view.y_low) * (rows - 1) + 0.5)
    labels[at] = axis.text(y)
    width = math.max(width, #labels[at])
  end
  return labels, width
end

local function x_axis(view, columns)
  local line = {}
  for i = 1, columns do line[i] = " " end
  local free = 1
  for _, x in ipairs(axis.ticks(view.x_low, view.x_high, math.max(2, columns // 14))) do
    local text = axis.text(x)
    local share = (x - view.x_low) / (view.x_high - view.x_low)
    local at = math.floor(share * (columns - 1) + 0.5) + 1 - #text // 2
    at = math.max(1, math.min(columns - #text + 1, at))
    if at >= free then
      for i = 1, #text do line[at + i - 1] = text:sub(i, i) end
      free = at + #text + 1
    end
  end
  return (table.concat(line):gsub(" +$", ""))
end

--- Curves. view: series {name, x, y, colour}, x_low, x_high, y_low, y_high, title, xlabel, ylabel.
function screen.lines(view, options)
  local coloured = options.utf8 and (options.colours == "truecolor" or options.colours == "256")
  local rows = options.rows or 14
  local labels, label_width = tick_labels(view, rows)
  local columns = math.max(20, options.width - label_width - 3)
  local bits, owner
  if coloured then
    bits, owner = plot(view, columns, rows, 2, 4)
  else
    bits, owner = plot(view, columns, rows, 1, 1)
  end
  local bar, corner, dash = "|", "+", "-"
  if options.utf8 then bar, corner, dash = "┤", "└", "─" end
  local out = {}
  if view.title then out[#out + 1] = view.title end
  if view.ylabel then out[#out + 1] = (" "):rep(label_width + 1) .. view.ylabel end
  for row = 0, rows - 1 do
    local parts, last = {}, nil
    for column = 0, columns - 1 do
      local at = row * columns + column
      local number = owner[at]
      if not number then
        parts[#parts + 1] = " "
      elseif coloured then
        if number ~= last then parts[#parts + 1] = colour.escape(view.series[number].colour,
          options.colours) end
        parts[#parts + 1] = utf8.char(0x2800 + bits[at])
        last = number
      else
        parts[#parts + 1] = marks[(number - 1) % #marks + 1]
      end
    end
    local edge = labels[row] and bar or (options.utf8 and "│" or "|")
    local text = table.concat(parts):gsub(" +$", "")
    out[#out + 1] = ("%" .. label_width .. "s %s%s%s"):format(labels[row] or "", edge, text, coloured
      and "\27[0m" or "")
  end
  out[#out + 1] = (" "):rep(label_width + 1) .. corner .. dash:rep(columns)
  out[#out + 1] = (" "):rep(label_width + 2) .. x_axis(view, columns)
  if view.xlabel then
    out[#out + 1] = (" "):rep(label_width + 2 + math.max(0, (columns - #view.xlabel) // 2)) .. view.xlabel
  end
  local names = {}
  for number, series in ipairs(view.series) do
    local mark = coloured and colour.escape(series.colour, options.colours) .. "━━\27[0m"
      or marks[(number - 1) % #marks + 1]
    names[number] = mark .. " " .. series.name
  end
  out[#out + 1] = (" "):rep(label_width + 2) .. table.concat(names, "   ")
  return table.concat(out, "\n") .. "\n"
end

return screen
