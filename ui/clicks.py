"""Clicks on parts of an HTML component, passed to the page's functions."""

from __future__ import annotations


def clicks_on(name: str) -> str:
    """js_on_load for a gr.HTML: a click on an element that has data-NAME is a click event, whose `option` is its value.

    Enter and the space bar also click, if such an element has the focus.
    """
    return f"""const tell = (event) => {{
  const part = event.target.closest('[data-{name}]');
  if (part && element.contains(part)) trigger('click', {{ option: part.dataset.{name} }});
  return part;
}};
element.addEventListener('click', tell);
element.addEventListener('keydown', (event) => {{
  if ((event.key === 'Enter' || event.key === ' ') && event.target.matches('[data-{name}]:not(button)') && tell(event))
    event.preventDefault();
}});"""
