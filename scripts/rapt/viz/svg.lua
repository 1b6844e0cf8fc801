-- A canvas that becomes an SVG file. Same methods as rapt.viz.raster; coordinates in pixels from the top
-- left.

local svg = {}
svg.__index = svg

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Text as XML takes it: no control characters, no bytes that are not UTF-8.
local function escape(text)
  if not utf8.len(text) then text = text:gsub("[\128-\255]", "?") end
  return (text:gsub("[&<>\"']", escapes):gsub("[%z\1-\8\11\12\14-\31]", "?"))
end

local function hex(rgb) return ("#%06x"):format(rgb) end

-- At most two decimals, and none where there are none.
local function number(x)
  return (("%.2f"):format(x):gsub("%.?0+$", ""))
end

function svg.new(width, height)
  local self = setmetatable({ width = width, height = height, parts = {} }, svg)
  self:rect(0, 0, width, height, 0xffffff)
  return self
end

function svg:add(format, ...)
  self.parts[#self.parts + 1] = format:format(...)
end

function svg:rect(x, y, width, height, rgb)
  self:add('<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>', number(x), number(y), number(width),
    number(height), hex(rgb))
end

--- The outline of a rectangle.
function svg:frame(x, y, width, height, rgb)
  self:add('<rect x="%s" y="%s" width="%s" height="%s" fill="none" stroke="%s"/>', number(x), number(y),
    number(width), number(height), hex(rgb))
end

--- Text on the base line y. options: anchor "start", "middle" or "end"; size in pixels; colour; vertical
-- (read upwards).
function svg:text(x, y, text, options)
  local anchor = options.anchor or "start"
  local turn = options.vertical and (' transform="rotate(-90 %s %s)"'):format(number(x), number(y)) or ""
  self:add('<text x="%s" y="%s" font-size="%d" text-anchor="%s" fill="%s"%s>%s</text>', number(x), number(y),
    options.size or 12, anchor, hex(options.colour or 0x222222), turn, escape(text))
end

--- A line through points {x1, y1, x2, y2, ...}.
function svg:polyline(points, rgb, width)
  local list = {}
  for i = 1, #points, 2 do list[#list + 1] = number(points[i]) .. "," .. number(points[i + 1]) end
  self:add('<polyline points="%s" fill="none" stroke="%s" stroke-width="%s" stroke-linejoin="round"/>',
    table.concat(list, " "), hex(rgb), number(width or 1))
end

--- Cells of equal size, as one path a colour: colour_at(row, column) from 1. Cells of one colour that lie
-- side by side are one rectangle.
function svg:cells(x, y, width, height, rows, columns, colour_at)
  local paths, order = {}, {}
  for r = 1, rows do
    local c = 1
    while c <= columns do
      local rgb, start = colour_at(r, c), c
      while c < columns and colour_at(r, c + 1) == rgb do c = c + 1 end
      if not paths[rgb] then
        paths[rgb] = {}
        order[#order + 1] = rgb
      end
      local path = paths[rgb]
      path[#path + 1] = ("M%d %dh%dv1h-%dz"):format(start - 1, r - 1, c - start + 1, c - start + 1)
      c = c + 1
    end
  end
  table.sort(order)
  self:add('<g transform="translate(%s %s) scale(%.6g %.6g)" shape-rendering="crispEdges">', number(x),
    number(y), width / columns, height / rows)
  for _, rgb in ipairs(order) do self:add('<path fill="%s" d="%s"/>', hex(rgb), table.concat(paths[rgb])) end
  self:add("</g>")
end

--- The file's bytes.
function svg:bytes(title)
  local head = ('<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="%d" '
    .. 'height="%d" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif">\n'):format(
    self.width, self.height, self.width, self.height)
  local about = title and ("<title>%s</title>\n"):format(escape(title)) or ""
  return head .. about .. table.concat(self.parts, "\n") .. "\n</svg>\n"
end

return svg
