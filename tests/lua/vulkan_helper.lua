-- The Vulkan device that specs run on, and what the validation layers said meanwhile.
local rapt = require "rapt"

local helper = {}

-- "vulkan:0" unless RAPT_TEST_VULKAN names another. The specs need a device: on a machine without a
-- GPU, the software driver.
helper.device = os.getenv "RAPT_TEST_VULKAN" or "vulkan:0"

-- What the device says of itself.
function helper.info()
  for _, info in ipairs(rapt.devices()) do
    if info.name == helper.device then
      return info
    end
  end
  error("no device " .. helper.device)
end

-- Whether a path ("f16", "coopmat NV", "coopmat KHR") is on.
function helper.has(path)
  return helper.info().detail:find("; " .. path .. " on", 1, true) ~= nil
end

-- A copy on the device that is a leaf of its own graph where the tensor is one.
function helper.to(tensor)
  local there = tensor:detach():to(helper.device)
  return tensor.requires_grad and there:requires_grad_() or there
end

-- Asserts that `t` is within `tolerance` of the greatest absolute value of `reference`, or within `least`
-- where what is compared may cancel to zeros.
function helper.matches(reference, t, tolerance, what, least)
  local greatest = reference:numel() > 0 and reference:abs():max():item() or 0
  local ok, err = rapt.allclose(t, reference, { rtol = 0, atol = tolerance * greatest + (least or 1e-30) })
  assert(ok, ("%s is off by %g of at most %g"):format(what, err or -1, tolerance * greatest))
end

-- The same values with other strides: B H N D as it comes out of B N H D.
function helper.transposed(t)
  return #t.shape == 4 and t:transpose(2, 3):contiguous():transpose(2, 3) or t
end

-- To be called last: RAPT_VULKAN_VALIDATE=1 must be set, and the layers silent.
function helper.assert_silent()
  assert(os.getenv "RAPT_VULKAN_VALIDATE" == "1", "RAPT_VULKAN_VALIDATE=1 was expected")
  rapt.synchronize(helper.device)
  local messages = rapt.vulkan.messages()
  local first = tostring(messages[1])
  assert(messages.count == 0, messages.count .. " messages of the validation layers; the first: " .. first)
end

return helper
