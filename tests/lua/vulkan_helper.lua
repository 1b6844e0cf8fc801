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

-- To be called last: RAPT_VULKAN_VALIDATE=1 must be set, and the layers silent.
function helper.assert_silent()
  assert(os.getenv "RAPT_VULKAN_VALIDATE" == "1", "RAPT_VULKAN_VALIDATE=1 was expected")
  rapt.synchronize(helper.device)
  local messages = rapt.vulkan.messages()
  local first = tostring(messages[1])
  assert(messages.count == 0, messages.count .. " messages of the validation layers; the first: " .. first)
end

return helper
