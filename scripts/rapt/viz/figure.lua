-- Figures for files: the same drawing for SVG and PNG, on a canvas of either kind.

local axis = require "rapt.viz.axis"

local figure = {}

local GREY, FAINT = 0x555555, 0xdddddd

-- --- Heat maps -------------------------------------------------------------------------------

-- Where everything goes: panels in rows, a colour bar on the right.
local function heatmap_layout(data, options)
  local first = data.panels[1]
  local n = #data.panels
  local across = options.across or math.min(n, math.ceil(math.sqrt(n * 1.6)))
  if not options.across then across = math.ceil(n / math.ceil(n / across)) end -- equal rows
  local longest = math.max(first.rows, first.columns)
  local side = options.size or (n == 1 and 440 or math.max(110, math.min(240, 900 // across)))
  local unit = side / longest
  local box = {
    width = math.max(unit * first.columns, 24), height = math.max(unit * first.rows, 24),
    left = 52, top = first.label and 20 or 6, bottom = 24, right = 18,
  }
  local layout = { box = box, across = across, down = math.ceil(n / across) }
  layout.cell_width = box.width + box.right
  layout.cell_height = box.top + box.height + box.bottom
  layout.head = options.title and 40 or 12
  layout.left = options.ylabel and 22 or 4
  layout.foot = (options.xlabel and 18 or 0) + (options.note and 18 or 0) + 8
  layout.bar_x = layout.left + box.left + layout.cell_width * across + 10
  layout.width = layout.bar_x + 14 + 64
  layout.height = layout.head + layout.cell_height * layout.down + layout.foot
  return layout
end

local function draw_panel(canvas, panel, x, y, box, scale, outer)
  if panel.label then canvas:text(x, y - 6, panel.label, { size = 12 }) end
  canvas:cells(x, y, box.width, box.height, panel.rows, panel.columns, function(r, c)
    return scale.colour(panel.values[r][c])
  end)
  canvas:frame(x, y, box.width, box.height, GREY)
  if outer.bottom then
    for _, at in ipairs(axis.positions(panel.full_columns, math.max(1, box.width // 60))) do
      local px = x + (at - 0.5) / panel.full_columns * box.width
      canvas:polyline({ px, y + box.height, px, y + box.height + 4 }, GREY, 1)
      canvas:text(px, y + box.height + 16, tostring(at), { size = 11, anchor = "middle" })
    end
  end
  if outer.left and panel.full_rows > 1 then
    for _, at in ipairs(axis.positions(panel.full_rows, math.max(1, box.height // 45))) do
      local py = y + (at - 0.5) / panel.full_rows * box.height
      canvas:polyline({ x - 4, py, x, py }, GREY, 1)
      canvas:text(x - 7, py + 4, tostring(at), { size = 11, anchor = "end" })
    end
  end
end

local function draw_bar(canvas, layout, scale)
  local steps = 128
  local height = math.min(layout.box.height, 260)
  local y = layout.head + layout.box.top
  canvas:cells(layout.bar_x, y, 14, height, steps, 1, function(r)
    return scale.colour(scale.high - (scale.high - scale.low) * (r - 0.5) / steps)
  end)
  canvas:frame(layout.bar_x, y, 14, height, GREY)
  local range = scale.high - scale.low
  local ticks = axis.ticks(scale.low, scale.high, math.max(2, height // 40))
  if range > 0 and #ticks < 3 then ticks = { scale.low, (scale.low + scale.high) / 2, scale.high } end
  for _, value in ipairs(ticks) do
    local py = range > 0 and y + (scale.high - value) / range * height or y + height / 2
    canvas:polyline({ layout.bar_x + 14, py, layout.bar_x + 18, py }, GREY, 1)
    canvas:text(layout.bar_x + 21, py + 4, axis.text(value), { size = 11 })
  end
end

--- Draws panels (rapt.viz.panels) on a new canvas, which is returned. options: title, xlabel, ylabel, note,
-- size, across.
function figure.heatmap(new_canvas, data, scale, options)
  local layout = heatmap_layout(data, options)
  local box = layout.box
  if options.title then layout.width = math.max(layout.width, 7.4 * #options.title + 30) end
  if options.note then layout.width = math.max(layout.width, 6.8 * #options.note + 70) end
  local canvas = new_canvas(layout.width, layout.height)
  if options.title then canvas:text(layout.left + box.left, 24, options.title, { size = 14 }) end
  for i, panel in ipairs(data.panels) do
    local column, row = (i - 1) % layout.across, (i - 1) // layout.across
    local x = layout.left + box.left + column * layout.cell_width
    local y = layout.head + box.top + row * layout.cell_height
    draw_panel(canvas, panel, x, y, box, scale, { left = column == 0,
      bottom = i + layout.across > #data.panels })
  end
  draw_bar(canvas, layout, scale)
  local middle = layout.left + box.left + (layout.cell_width * layout.across - box.right) / 2
  local base = layout.head + layout.cell_height * layout.down
  if options.xlabel then canvas:text(middle, base + 12, options.xlabel, { size = 12, anchor = "middle" }) end
  if options.ylabel then
    canvas:text(layout.left + 10, layout.head + layout.cell_height * layout.down / 2, options.ylabel,
      { size = 12, anchor = "middle", vertical = true })
  end
  if options.note then
    canvas:text(layout.left + box.left, base + (options.xlabel and 30 or 12), options.note, { size = 11,
      colour = GREY })
  end
  return canvas
end

-- --- Curves ----------------------------------------------------------------------------------

local function draw_axes(canvas, view, area)
  for _, value in ipairs(axis.ticks(view.x_low, view.x_high, math.max(2, area.width // 70))) do
    local px = area.map_x(value)
    canvas:polyline({ px, area.y, px, area.y + area.height }, FAINT, 1)
    canvas:text(px, area.y + area.height + 17, axis.text(value), { size = 11, anchor = "middle" })
  end
  for _, value in ipairs(axis.ticks(view.y_low, view.y_high, math.max(2, area.height // 50))) do
    local py = area.map_y(value)
    canvas:polyline({ area.x, py, area.x + area.width, py }, FAINT, 1)
    canvas:text(area.x - 7, py + 4, axis.text(value), { size = 11, anchor = "end" })
  end
  canvas:frame(area.x, area.y, area.width, area.height, GREY)
end

-- Where the line from a to b crosses the height y.
local function crossing(a, b, y)
  return { x = a.x + (b.x - a.x) * (y - a.y) / (b.y - a.y), y = y }
end

-- The runs of finite points of a series, in pixels, cut at the upper and lower edge.
local function runs(series, area)
  local list, run, last = {}, nil, nil
  local top, bottom = area.y, area.y + area.height
  local function edge_of(point) return point.y < top and top or point.y > bottom and bottom or nil end
  local function add(point)
    if not run then
      run = {}
      list[#list + 1] = run
    end
    run[#run + 1] = point.x
    run[#run + 1] = point.y
  end
  for i = 1, #series.x do
    local x, y = series.x[i], series.y[i]
    if x == x and y == y and math.abs(x) ~= math.huge and math.abs(y) ~= math.huge then
      local point = { x = area.map_x(x), y = area.map_y(y) }
      local edge, last_edge = edge_of(point), last and edge_of(last)
      if last and last_edge and last_edge ~= edge then add(crossing(last, point, last_edge)) end
      if not edge then
        add(point)
      else
        if last and last_edge ~= edge then add(crossing(last, point, edge)) end
        run = nil
      end
      last = point
    else
      run, last = nil, nil
    end
  end
  return list
end

--- Draws curves on a new canvas. `view` as in rapt.viz.screen.lines; options: width, height.
function figure.lines(new_canvas, view, options)
  local longest = 0
  for _, series in ipairs(view.series) do longest = math.max(longest, utf8.len(series.name)
    or #series.name) end
  local legend = 46 + 7 * longest
  local width, height = options.width or 720, options.height or 400
  local area = { x = view.ylabel and 74 or 56, y = view.title and 40 or 14 }
  area.width = math.max(80, width - area.x - legend - 12)
  area.height = math.max(60, height - area.y - (view.xlabel and 46 or 28))
  function area.map_x(x) return area.x + (x - view.x_low) / (view.x_high - view.x_low) * area.width end
  function area.map_y(y) return area.y + (view.y_high - y) / (view.y_high - view.y_low) * area.height end
  local canvas = new_canvas(math.max(width, area.x + area.width + legend + 12), height)
  if view.title then canvas:text(area.x, 24, view.title, { size = 14 }) end
  draw_axes(canvas, view, area)
  for i, series in ipairs(view.series) do
    for _, run in ipairs(runs(series, area)) do
      if #run == 2 then run = { run[1] - 1.5, run[2], run[1] + 1.5, run[2] } end -- a lone point is a dash
      canvas:polyline(run, series.colour, 1.6)
    end
    local x, y = area.x + area.width + 12, area.y + 4 + 18 * i
    canvas:polyline({ x, y - 4, x + 20, y - 4 }, series.colour, 2.5)
    canvas:text(x + 26, y, series.name, { size = 11 })
  end
  if view.xlabel then
    canvas:text(area.x + area.width / 2, height - 10, view.xlabel, { size = 12, anchor = "middle" })
  end
  if view.ylabel then
    canvas:text(18, area.y + area.height / 2, view.ylabel, { size = 12, anchor = "middle", vertical = true })
  end
  return canvas
end

return figure
